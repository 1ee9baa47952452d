//! Two services and a saga that moves money between accounts, under faults.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::HttpClient;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{
    Aggregate, App, Command, Effects, Entity, Event, JsonSchema, Reads, Repo, Result,
    RuntimeExt as _, Saga, SagaEffects, SagaInput, Service, Table, Unexpected, schemars,
};
use wingbeat_core::BoxFuture;
use wingbeat_core::runtime::SharedRuntime;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "bank.transfer", key = transfer)]
pub(crate) struct Transfer {
    pub(crate) transfer: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "accounts.change", key = account)]
pub(crate) struct ChangeBalance {
    pub(crate) account: String,
    pub(crate) transfer: String,
    pub(crate) amount: i64,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "accounts.changed", key = transfer)]
struct BalanceChanged {
    transfer: String,
    amount: i64,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "accounts.refused", key = transfer)]
struct ChangeRefused {
    transfer: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.nudge", key = transfer)]
struct Nudge {
    transfer: String,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Account {
    pub(crate) balance: i64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Moved(i64);

#[derive(Debug)]
pub(crate) struct Overdrawn;

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = i64;
    type Event = Moved;
    type Error = Overdrawn;

    fn decide(&self, amount: i64) -> Result<Vec<Moved>, Overdrawn> {
        if self.balance + amount < 0 {
            Err(Overdrawn)
        } else {
            Ok(vec![Moved(amount)])
        }
    }

    fn apply(&mut self, Moved(amount): &Moved) {
        self.balance += amount;
    }
}

async fn change_balance(command: ChangeBalance, accounts: Repo<Account>) -> Result<Effects> {
    let ChangeBalance {
        account,
        transfer,
        amount,
    } = command;
    let mut effects = Effects::new();
    match accounts.execute(&account, amount).await? {
        Ok(_) => effects.publish(&BalanceChanged { transfer, amount }),
        Err(Overdrawn) => effects.publish(&ChangeRefused { transfer }),
    };
    Ok(effects)
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) times_ended: u32,
}

impl Entity for Outcome {
    const NAME: &'static str = "outcome";
    type Id = String;
}

#[derive(Default, Serialize, Deserialize)]
struct Moving {
    to: String,
    transfer: String,
    amount: i64,
    taken: bool,
}

#[derive(SagaInput)]
#[allow(dead_code, reason = "some inputs say all by coming")]
enum Input {
    #[saga(start)]
    Transfer(Transfer),
    Changed(BalanceChanged),
    Refused(ChangeRefused),
    #[saga(timer)]
    Nudge(Nudge),
}

impl Moving {
    fn end(&self, fx: &mut SagaEffects<Input>) {
        let count = |outcome: Option<Outcome>| Outcome {
            times_ended: outcome.unwrap_or_default().times_ended + 1,
        };
        fx.update::<Outcome>(self.transfer.clone(), count).end();
    }
}

impl Saga for Moving {
    const NAME: &'static str = "moving";
    type Input = Input;

    fn step(&mut self, input: Input, fx: &mut SagaEffects<Input>) {
        match input {
            Input::Transfer(Transfer {
                transfer,
                from,
                to,
                amount,
            }) => {
                fx.send(&ChangeBalance {
                    account: from,
                    transfer: transfer.clone(),
                    amount: -amount,
                });
                fx.after(
                    Duration::from_secs(60),
                    &Nudge {
                        transfer: transfer.clone(),
                    },
                );
                (self.to, self.transfer, self.amount) = (to, transfer, amount);
            }
            Input::Changed(BalanceChanged { .. }) if !self.taken => {
                self.taken = true;
                let (account, transfer) = (self.to.clone(), self.transfer.clone());
                fx.send(&ChangeBalance {
                    account,
                    transfer,
                    amount: self.amount,
                });
            }
            Input::Changed(_) | Input::Refused(_) => self.end(fx),
            Input::Nudge(_) => {}
        }
    }

    fn unexpected(&mut self, _reason: Unexpected, _input: Input, _fx: &mut SagaEffects<Input>) {}
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "accounts.explode", key = how)]
struct Explode {
    how: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Attempts(u32);

impl Entity for Attempts {
    const NAME: &'static str = "attempts";
    type Id = String;
}

async fn explode(command: Explode, attempts: Table<Attempts>) -> Result<()> {
    assert_ne!(command.how, "panic", "told to");
    attempts
        .update(&command.how, |attempts| {
            Attempts(attempts.unwrap_or_default().0 + 1)
        })
        .await?;
    Err(wingbeat::Error::retry("told_to", "told to"))
}

struct NoHttp;

impl HttpClient for NoHttp {
    fn send(&self, _request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async {
            Err(wingbeat::Error::reject(
                "no_http",
                "the test has no outside systems",
            ))
        })
    }
}

pub(crate) fn app() -> App {
    App::new()
        .service(Service::new("accounts").on(change_balance).on(explode))
        .service(Service::new("bank").saga::<Moving>())
}

pub(crate) fn ports(model: &Model, runtime: SharedRuntime) -> wingbeat::Ports {
    wingbeat::Ports {
        runtime,
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: Arc::new(NoHttp),
    }
}

pub(crate) fn rough() -> Faults {
    Faults {
        commit_unknown: 100,
        store_unavailable: 50,
        confirm_lost: 100,
        duplicate: 200,
        delay: Duration::from_millis(20),
        ..Faults::default()
    }
}

/// An envelope as a foreign publisher would send it.
pub(crate) fn envelope<M: wingbeat::Message>(
    simulation: &Simulation,
    message: &M,
) -> wingbeat::ports::Envelope {
    let runtime = simulation.runtime();
    wingbeat::ports::Envelope {
        id: runtime.id().into(),
        source: "test".into(),
        kind: M::NAME.into(),
        role: M::KIND,
        key: message.key(),
        time: runtime.now(),
        correlation: runtime.id().into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: wingbeat::encode_body(message),
    }
}

pub(crate) async fn publish<M: wingbeat::Message>(
    simulation: &Simulation,
    model: &Model,
    message: &M,
) {
    use wingbeat::ports::Transport as _;
    let envelope = envelope(simulation, message);
    while model.transport.publish(vec![envelope.clone()]).await[0].is_err() {}
}

fn explosion(how: &str) -> Explode {
    Explode { how: how.into() }
}

fn deposit(amount: i64) -> ChangeBalance {
    ChangeBalance {
        account: "a".into(),
        transfer: "t".into(),
        amount,
    }
}

pub(crate) const ACCOUNTS: u64 = 4;
pub(crate) const TRANSFERS: usize = 40;

/// Opens accounts with 100 each and transfers money between them. Returns the digest, the balances,
/// and the number of endings of each transfer.
fn transfers(seed: u64, faults: Faults) -> (u64, Vec<i64>, Vec<u32>) {
    let simulation = Simulation::new(seed);
    let model = Model::new(simulation.runtime());
    let world = simulation.clone();
    let (balances, ended) = simulation.block_on(async move {
        let running = app()
            .allow_unknown_owners()
            .start(ports(&model, world.runtime()))
            .await
            .expect("starts");
        model.set_faults(faults);
        for account in 0..ACCOUNTS {
            let account = account.to_string();
            publish(
                &world,
                &model,
                &ChangeBalance {
                    account,
                    transfer: "opening".into(),
                    amount: 100,
                },
            )
            .await;
        }
        world.runtime().sleep(Duration::from_secs(120)).await;
        for transfer in 0..TRANSFERS {
            let random = world.runtime().random();
            let (from, to) = (random % ACCOUNTS, (random / 7 + 1) % ACCOUNTS);
            let transfer = Transfer {
                transfer: transfer.to_string(),
                from: from.to_string(),
                to: to.to_string(),
                amount: (random % 60) as i64,
            };
            publish(&world, &model, &transfer).await;
        }
        world.runtime().sleep(Duration::from_secs(3600)).await;
        model.set_faults(Faults::default());
        let accounts = running.reads("accounts").expect("runs");
        let mut balances = Vec::new();
        for account in 0..ACCOUNTS {
            let account: Account = accounts
                .aggregate(&account.to_string())
                .await
                .expect("reads")
                .unwrap_or_default();
            balances.push(account.balance);
        }
        let bank: Reads = running.reads("bank").expect("runs");
        let mut ended = Vec::new();
        for transfer in 0..TRANSFERS {
            let outcome: Outcome = bank
                .entity(&transfer.to_string())
                .await
                .expect("reads")
                .unwrap_or_default();
            ended.push(outcome.times_ended);
        }
        (balances, ended)
    });
    (simulation.digest(), balances, ended)
}

#[test]
fn every_transfer_ends_once_and_no_money_is_lost() {
    for seed in 0..40 {
        let (_, balances, ended) = transfers(seed, rough());
        assert_eq!(
            balances.iter().sum::<i64>(),
            100 * ACCOUNTS as i64,
            "seed {seed}: {balances:?}"
        );
        assert!(
            balances.iter().all(|balance| *balance >= 0),
            "seed {seed}: {balances:?}"
        );
        assert_eq!(ended, vec![1; TRANSFERS], "seed {seed}");
    }
}

#[test]
fn one_seed_gives_one_result() {
    assert_eq!(transfers(3, rough()), transfers(3, rough()));
}

#[test]
fn a_failing_handler_produces_a_dead_letter_and_delays_nothing_else() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let world = simulation.clone();
    simulation.block_on(async move {
        let running = app()
            .allow_unknown_owners()
            .start(ports(&model, world.runtime()))
            .await
            .expect("starts");
        publish(&world, &model, &explosion("panic")).await;
        publish(&world, &model, &explosion("error")).await;
        publish(&world, &model, &deposit(5)).await;
        world.runtime().sleep(Duration::from_secs(3600)).await;
        let accounts = running.reads("accounts").expect("runs");
        let account: Account = accounts
            .aggregate(&"a".to_owned())
            .await
            .expect("reads")
            .expect("opened");
        assert_eq!(account.balance, 5);
        let mut letters = running
            .dead_letters("accounts".into())
            .await
            .expect("reads");
        letters.sort_by(|a, b| a.reason.cmp(&b.reason));
        let reasons: Vec<_> = letters
            .iter()
            .map(|letter| (letter.reason.as_str(), letter.failures.attempts > 3))
            .collect();
        assert_eq!(reasons, [("panicked", false), ("told_to", true)]);
        // The effects that a failed attempt recorded were discarded.
        assert!(
            accounts
                .entity::<Attempts>(&"error".to_owned())
                .await
                .expect("reads")
                .is_none()
        );

        assert!(
            running
                .discard_dead_letter("accounts".into(), letters[0].id)
                .await
                .expect("writes")
        );
        assert!(
            running
                .retry_dead_letter("accounts".into(), letters[1].id)
                .await
                .expect("writes")
        );
        world.runtime().sleep(Duration::from_secs(3600)).await;
        let letters = running
            .dead_letters("accounts".into())
            .await
            .expect("reads");
        assert_eq!(
            letters.len(),
            1,
            "the retried letter failed again, the discarded one is not listed"
        );
    });
}

#[test]
fn a_service_cannot_read_the_data_of_another() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let world = simulation.clone();
    simulation.block_on(async move {
        let running = app()
            .allow_unknown_owners()
            .start(ports(&model, world.runtime()))
            .await
            .expect("starts");
        publish(&world, &model, &deposit(5)).await;
        world.runtime().sleep(Duration::from_secs(10)).await;
        let id = "a".to_owned();
        assert!(
            running
                .reads("accounts")
                .expect("runs")
                .aggregate::<Account>(&id)
                .await
                .expect("reads")
                .is_some()
        );
        assert!(
            running
                .reads("bank")
                .expect("runs")
                .aggregate::<Account>(&id)
                .await
                .expect("reads")
                .is_none()
        );
    });
}
