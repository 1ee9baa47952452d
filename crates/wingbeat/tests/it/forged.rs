//! Signed commands: a command without a valid signature of a service that sends it becomes a dead
//! letter, and no handler sees it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Envelope, Kind, Signatures as _, Transport as _};
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::trust::{Ed25519, Trust};
use wingbeat::{
    App, Command, Effects, Entity, Error, Event, JsonSchema, Message as _, Name, Result, Running,
    Saga, SagaEffects, SagaInput, Service, Table, Unexpected, schemars,
};

use crate::refusing::Log;
use crate::transfers::{envelope, ports};

const BANK: Name = Name::new("bank");
/// A month of the bank, short: virtual time passes in polls of half a second.
const MONTH: Duration = Duration::from_secs(600);
const NAMES: [&str; 4] = ["shop", "bank", "mail", "partner"];

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.returned", version = 1, key = order)]
struct Returned {
    order: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "bank.refund", version = 1, key = order)]
struct Refund {
    order: String,
    cents: u32,
}

/// The times that an order was refunded.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Refunds(u32);

impl Entity for Refunds {
    const NAME: &'static str = "refunds";
    type Id = String;
}

async fn returned(event: Returned) -> Result<Effects> {
    let mut effects = Effects::new();
    effects.send(&Refund {
        order: event.order,
        cents: 100,
    });
    Ok(effects)
}

async fn refund(command: Refund, refunds: Table<Refunds>) -> Result<()> {
    let known = refunds.get(&command.order).await?.unwrap_or_default();
    if command.cents == 0 && known.0 < 2 {
        refunds.put(&command.order, Refunds(known.0 + 1))?;
        return Err(Error::retry("bank_closed", "the bank is closed"));
    }
    refunds.put(&command.order, Refunds(known.0 + 1))
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.opened", version = 1, key = account)]
struct Opened {
    account: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.month_over", version = 1, key = account)]
struct MonthOver {
    account: String,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Opened(Opened),
    #[saga(timer)]
    MonthOver(MonthOver),
}

/// Ends with the month.
#[derive(Default, Serialize, Deserialize)]
struct Interest;

impl Saga for Interest {
    const NAME: &'static str = "interest";
    type Input = Input;

    fn step(&mut self, input: Input, fx: &mut SagaEffects<Input>) {
        match input {
            Input::Opened(Opened { account }) => {
                fx.after(MONTH, &MonthOver { account });
            }
            Input::MonthOver(MonthOver { account }) => {
                fx.update::<Refunds>(account, |_| Refunds(1)).end();
            }
        }
    }

    fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
}

fn app() -> App {
    App::new()
        .service(Service::new("shop").on(returned).sends::<Refund>())
        .service(Service::new("bank").on(refund).saga::<Interest>())
        .service(Service::new("mail"))
        .outside(["partner"])
}

/// A system, and the keys of all names.
struct World {
    simulation: Simulation,
    model: Model,
    process: Arc<Group>,
    running: Option<Running>,
    keys: Arc<Ed25519>,
}

impl World {
    fn start(accept_unsigned: bool) -> Self {
        let keys = Arc::new(Ed25519::generated(NAMES));
        let trust = Trust::new(keys.clone()).with_accept_unsigned(accept_unsigned);
        Self::with(app().signed(trust), keys)
    }

    fn with(app: App, keys: Arc<Ed25519>) -> Self {
        let simulation = Simulation::new(7);
        let model = Model::new(simulation.runtime());
        let process = simulation.group();
        let running = simulation.run(app.start(ports(&model, process.clone())));
        Self {
            simulation,
            model,
            process,
            running: Some(running.expect("it starts")),
            keys,
        }
    }

    /// Ends the process, and starts another one with these keys on the same store and broker.
    fn restart(&mut self, keys: &Arc<Ed25519>) {
        self.process.kill();
        drop(self.running.take());
        self.process = self.simulation.group();
        let app = app().signed(Trust::new(keys.clone()));
        let running = self
            .simulation
            .run(app.start(ports(&self.model, self.process.clone())));
        self.running = Some(running.expect("it starts"));
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Returns a command as a service would send it, signed by `signer` if there is one.
    fn command(&self, source: &str, signer: Option<&'static str>) -> Envelope {
        let order = "order-7".to_owned();
        let mut command = Envelope {
            source: source.to_owned().into(),
            ..envelope(&self.simulation, &Refund { order, cents: 5 })
        };
        if let Some(signer) = signer {
            self.sign(&mut command, signer);
        }
        command
    }

    fn sign(&self, command: &mut Envelope, signer: &'static str) {
        let text = command.signed_text();
        command.signature = self.keys.sign(Name::new(signer), &text);
        assert!(command.signature.is_some());
    }

    fn deliver(&self, message: Envelope) {
        let sent = self.model.transport.publish(vec![message]);
        assert!(self.simulation.run(sent)[0].is_ok());
        self.advance();
    }

    /// Puts a message into a queue, past the exchanges.
    fn put(&self, queue: &str, message: Envelope) {
        self.model.transport.put(queue, message);
        self.advance();
    }

    fn advance(&self) {
        self.simulation.advance(Duration::from_secs(60));
    }

    fn refunds_of(&self, order: &str) -> u32 {
        let reads = self.running().reads("bank").expect("it runs");
        let id = order.to_owned();
        let refunds = self.simulation.run(reads.entity::<Refunds>(&id));
        refunds.expect("the store reads").unwrap_or_default().0
    }

    fn refunds(&self) -> u32 {
        self.refunds_of("order-7")
    }

    fn letters(&self) -> Vec<wingbeat::app::DeadLetter> {
        let letters = self.simulation.run(self.running().dead_letters(BANK));
        letters.expect("the store reads")
    }

    fn count(&self, counter: &str) -> i64 {
        let reads = self.running().reads("bank").expect("it runs");
        let counters = self.simulation.run(reads.counters());
        let mut counters = counters.expect("the store reads").into_iter();
        let found = counters.find(|(name, _)| name.as_str() == counter);
        found.map_or(0, |(_, count)| count)
    }

    fn retry(&self, letter: &wingbeat::app::DeadLetter) {
        let retried = self.running().retry_dead_letter(BANK, letter.id);
        assert!(self.simulation.run(retried).expect("it is committed"));
        self.advance();
    }

    fn end(mut self) {
        drop(self.running.take());
        self.simulation.end();
    }
}

#[test]
fn a_command_of_a_service_that_sends_it_is_handled() {
    let world = World::start(false);
    let order = "order-9".to_owned();
    world.deliver(envelope(&world.simulation, &Returned { order }));
    assert_eq!(world.refunds_of("order-9"), 1);
    world.deliver(world.command("shop", Some("shop")));
    world.deliver(world.command("partner", Some("partner")));
    assert_eq!(world.refunds(), 2);
    assert_eq!(world.letters().len(), 0);
    world.end();
}

type Forge = fn(&World) -> Envelope;

/// Commands that no service has sent.
const FORGERIES: [(&str, Forge); 13] = [
    ("unsigned", |world| world.command("shop", None)),
    ("signed with the key of another service", |world| {
        world.command("shop", Some("mail"))
    }),
    ("of a service that does not send it", |world| {
        world.command("mail", Some("mail"))
    }),
    ("of a stranger", |world| world.command("stranger", None)),
    ("with an invalid signature", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.signature = Some(wingbeat::ports::Signature::new([0; 64]));
        forged
    }),
    ("with another id", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.id = world.command("shop", None).id;
        forged
    }),
    ("with another source", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.source = "partner".into();
        forged
    }),
    ("with another key", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.key = "order-8".into();
        forged
    }),
    ("with another operation", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.operation = Some("order-7/refund".into());
        forged
    }),
    ("with another time", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.time = forged.time + Duration::from_micros(1);
        forged
    }),
    ("with another cause", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.causation = Some(forged.id);
        forged
    }),
    ("with another body", |world| {
        let mut forged = world.command("shop", Some("shop"));
        forged.body = "{\"order\":\"order-7\",\"cents\":500}".into();
        forged
    }),
    ("past the exchange of commands", |world| Envelope {
        role: Kind::Event,
        ..world.command("shop", None)
    }),
];

/// Whatever lacks a valid signature of a sender is refused, and nothing of it takes effect.
#[test]
fn a_forged_command_becomes_a_dead_letter_and_is_never_handled() {
    let (log, _recording) = Log::start();
    let world = World::start(false);
    for (index, (how, forge)) in FORGERIES.into_iter().enumerate() {
        let forged = forge(&world);
        let source = forged.source.to_string();
        world.put("bank.refund", forged);
        let letters = world.letters();
        assert_eq!(letters.len(), index + 1, "{how}");
        let letter = letters.last().expect("there is one");
        assert_eq!((&*letter.reason, &*letter.kind), ("forged", Refund::NAME));
        let message = letter.message().expect("it has one");
        assert_eq!(message.source, source, "{how}: the claim is kept");
        assert_eq!(letter.failures.attempts, 1, "{how}");
    }
    assert_eq!(world.refunds(), 0);
    assert_eq!(world.count("foreign:bank.refund"), 13, "none is ours");
    assert_eq!(world.count("handled:bank.refund"), 0);
    assert_eq!(world.count("dead:bank.refund"), 13);
    assert!(log.count(&["dead letter"]) >= 13);
    world.end();
}

/// The negative control: without keys the forged command is carried out.
#[test]
fn without_signatures_a_forged_command_is_handled() {
    let world = World::with(app(), Arc::new(Ed25519::generated(NAMES)));
    world.deliver(world.command("shop", None));
    assert_eq!((world.refunds(), world.letters().len()), (1, 0));
    world.end();
}

#[test]
fn a_forged_copy_does_not_suppress_the_real_command() {
    let world = World::start(false);
    let real = world.command("shop", Some("shop"));
    let mut forged = real.clone();
    forged.body = "{\"order\":\"order-7\",\"cents\":500}".into();
    for _ in 0..3 {
        world.deliver(forged.clone());
    }
    assert_eq!(world.letters().len(), 1, "copies of one forgery are one");
    world.deliver(real.clone());
    assert_eq!(world.refunds(), 1);
    world.end();
}

/// A command of a newer version waits for a release that knows it, and counts as delivered. A
/// forged one must not, or the store would take the real command for a copy of it.
#[test]
fn a_forged_command_of_a_newer_version_does_not_suppress_the_real_command() {
    let world = World::start(false);
    let real = world.command("shop", Some("shop"));
    let newer = |command| Envelope {
        kind: "bank.refund.v2".into(),
        ..command
    };
    world.put("bank.refund", newer(real.clone()));
    let letters = world.letters();
    assert_eq!((letters.len(), &*letters[0].reason), (1, "forged"));
    assert_eq!(world.count("parked:bank.refund"), 0);
    world.deliver(real);
    assert_eq!(world.refunds(), 1);
    let mut signed = newer(world.command("shop", None));
    world.sign(&mut signed, "shop");
    world.put("bank.refund", signed);
    assert_eq!(world.letters().len(), 1);
    assert_eq!(world.count("parked:bank.refund"), 1, "it waits");
    world.end();
}

#[test]
fn a_recorded_command_that_is_sent_again_takes_effect_once() {
    let world = World::start(false);
    let recorded = world.command("shop", Some("shop"));
    for _ in 0..5 {
        world.deliver(recorded.clone());
    }
    assert_eq!((world.refunds(), world.letters().len()), (1, 0));
    world.end();
}

#[test]
fn an_operator_who_retries_a_forged_command_does_not_make_it_valid() {
    let world = World::start(false);
    world.deliver(world.command("shop", None));
    for _ in 0..3 {
        let letters = world.letters();
        assert_eq!((letters.len(), &*letters[0].reason), (1, "forged"));
        world.retry(&letters[0]);
    }
    assert_eq!((world.refunds(), world.letters().len()), (0, 1));
    assert_eq!(world.count("dead:bank.refund"), 1);
    assert_eq!(world.count("parked:bank.refund"), 0);
    assert_eq!(world.count("foreign:bank.refund"), 1);
    world.end();
}

/// A sender whose key was not known yet: its commands become dead letters, and are handled once the
/// key is known and an operator retries them, each once, whatever the broker delivers again.
#[test]
fn a_command_that_was_refused_for_lack_of_a_key_can_be_retried_once_the_key_is_known() {
    let old = Arc::new(Ed25519::generated(NAMES));
    let mut world = World::with(app().signed(Trust::new(old.clone())), old);
    let new = Arc::new(Ed25519::generated(NAMES));
    world.keys = new.clone();
    let first = world.command("shop", Some("shop"));
    let second = world.command("shop", Some("shop"));
    world.deliver(first.clone());
    world.deliver(second.clone());
    let letters = world.letters();
    assert_eq!((letters.len(), world.refunds()), (2, 0));

    world.restart(&new);
    world.deliver(second); // The relay did not see the confirm, and has published it again.
    assert_eq!(world.refunds(), 1);
    for letter in &letters {
        world.retry(letter);
    }
    assert_eq!((world.letters().len(), world.refunds()), (0, 2));
    world.deliver(first);
    assert_eq!(world.refunds(), 2);
    assert_eq!(world.count("handled:bank.refund"), 2);
    assert_eq!(world.count("foreign:bank.refund"), 0);
    assert_eq!(world.count("parked:bank.refund"), 0);
    world.end();
}

#[test]
fn a_command_that_was_verified_is_not_verified_again_with_a_replaced_key() {
    let mut world = World::start(false);
    let order = "order-7".to_owned();
    let refund = Refund { order, cents: 0 }; // The bank is closed for it.
    let mut command = Envelope {
        source: "shop".into(),
        ..envelope(&world.simulation, &refund)
    };
    world.sign(&mut command, "shop");
    let sent = world.model.transport.publish(vec![command]);
    assert!(world.simulation.run(sent)[0].is_ok());
    world.simulation.advance(Duration::from_millis(900));
    assert_eq!(world.count("parked:bank.refund"), 1, "it is parked");
    world.restart(&Arc::new(Ed25519::generated(NAMES)));
    world.simulation.advance(Duration::from_secs(24 * 3_600));
    let letters = world.letters();
    let reasons: Vec<_> = letters.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["bank_closed"], "its retries are used up");
    world.end();
}

#[test]
fn while_unsigned_commands_are_accepted_only_wrong_signatures_are_refused() {
    let world = World::start(true);
    world.deliver(world.command("shop", None));
    world.deliver(world.command("shop", Some("shop")));
    assert_eq!((world.refunds(), world.letters().len()), (2, 0));
    world.deliver(world.command("shop", Some("mail")));
    world.deliver(world.command("mail", Some("mail")));
    assert_eq!((world.refunds(), world.letters().len()), (2, 2));
    world.end();
}

#[test]
fn timers_come_from_the_store_and_from_no_queue() {
    let world = World::start(false);
    let account = "a".to_owned();
    world.deliver(envelope(
        &world.simulation,
        &Opened {
            account: account.clone(),
        },
    ));
    let mut timer = envelope(&world.simulation, &MonthOver { account });
    timer.source = "bank".into();
    world.put("bank.interest", timer);
    let letters = world.letters();
    assert_eq!((letters.len(), world.refunds_of("a")), (1, 0));
    assert_eq!(letters[0].reason, "unknown_type");
    // An operator who retries it does not make it a timer.
    world.retry(&letters[0]);
    let letters = world.letters();
    assert_eq!((letters.len(), world.refunds_of("a")), (1, 0));
    assert_eq!(letters[0].reason, "unknown_type");
    world.simulation.advance(MONTH + MONTH / 30);
    assert_eq!(world.refunds_of("a"), 1, "the timer fires in its time");
    world.end();
}
