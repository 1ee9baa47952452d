//! Units of every origin take the same retry loop: a refusal is reported, and a due record that was
//! committed is handled when it is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::subscriber::DefaultGuard;
use wingbeat::ports::{Consumer, Envelope, Store, Transport};
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::transport::{DeadLettered, Settler};
use wingbeat::{
    App, BoxFuture, Call, Entity, Error, Event, GaveUp, JsonSchema, Message as _, Name, Now, Ports,
    Result, Running, Service, Table, TargetPolicy, Timestamp, schemars,
};
use wingbeat_core::unit::Write;
use wingbeat_core::{Delivery, Runtime as _, Tag, Unit};

use crate::found::Nowhere;
use crate::refusing::{Log, Refusing};

/// An app on the model, whose log the test reads.
struct World {
    simulation: Simulation,
    model: Model,
    running: Running,
    log: Log,
    _recording: DefaultGuard,
    _process: Arc<Group>,
}

impl World {
    fn start(app: App, change: impl FnOnce(&Simulation, Ports) -> Ports) -> Self {
        let (log, recording) = Log::start();
        let simulation = Simulation::new(1);
        let model = Model::new(simulation.runtime());
        let process = simulation.group();
        let ports = change(&simulation, model.ports(&process, Arc::new(Nowhere)));
        let running = simulation.run(app.allow_unknown_owners().start(ports));
        Self {
            simulation,
            model,
            running: running.expect("it starts"),
            log,
            _recording: recording,
            _process: process,
        }
    }

    /// Returns the times and bodies of the messages of one type, in the order of their commits.
    fn committed(&self, kind: &str) -> Vec<(Timestamp, String)> {
        let units = self.model.store.log().into_iter();
        let messages =
            units.flat_map(|unit| unit.messages.into_iter().map(move |it| (unit.at, it)));
        let of_kind = messages.filter(|(_, message)| message.kind == kind);
        let body = |message: Envelope| String::from_utf8_lossy(&message.body).into_owned();
        of_kind.map(|(at, message)| (at, body(message))).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

#[derive(Call, Clone, Serialize, Deserialize)]
#[call(name = "clock.ring", target = "bell", key = at, outcome = Rang)]
struct Ring {
    at: i64,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "clock.rang", version = 1, key = at)]
struct Rang {
    at: i64,
    rung: bool,
}

impl GaveUp<Ring> for Rang {
    fn gave_up(call: &Ring, _: &Error) -> Self {
        Self {
            at: call.at,
            rung: false,
        }
    }
}

async fn strike(Now(now): Now) -> Result<Ring> {
    Ok(Ring {
        at: now.as_micros(),
    })
}

async fn ring(call: Ring) -> Result<Rang> {
    Ok(Rang {
        at: call.at,
        rung: true,
    })
}

fn clock(every: Duration) -> App {
    let clock = Service::new("clock")
        .every("strike", every, strike)
        .target("bell", TargetPolicy::default())
        .calls(ring);
    App::new().service(clock)
}

#[test]
fn a_due_record_of_a_scheduled_handler_does_not_wait_for_the_next_poll() {
    let world = World::start(clock(Duration::from_millis(730)), |_, ports| ports);
    world.simulation.advance(Duration::from_secs(30));
    let rang = world.committed(Rang::NAME);
    assert!(rang.len() >= 35, "{} of 40", rang.len());
    for (done, body) in rang {
        let Rang { at, .. } = serde_json::from_str(&body).expect("an event");
        let waited = done.since(Timestamp::from_micros(at));
        assert!(waited < Duration::from_millis(60), "it waited {waited:?}");
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Note;

impl Entity for Note {
    const NAME: &'static str = "note";
    type Id = String;
}

/// Writes a record.
async fn scribble(notes: Table<Note>) -> Result<()> {
    notes.put(&"a".to_owned(), Note)
}

#[test]
fn a_refusal_of_a_scheduled_handler_is_logged_once_a_run() {
    let service = Service::new("notes").every("scribble", Duration::from_secs(10), scribble);
    let world = World::start(App::new().service(service), |_, ports| {
        let is_note = |write: &Write| write.key.table.as_str() == Note::NAME;
        refusing(ports, move |unit| unit.writes.iter().any(is_note))
    });
    world.simulation.advance(Duration::from_secs(65));
    let parts = ["WARN", "a scheduled handler failed", "code=\"refused\""];
    assert_eq!(world.log.count(&parts), 6);
}

/// Wraps the store of these ports.
fn refusing(ports: Ports, refuses: impl Fn(&Unit) -> bool + Send + Sync + 'static) -> Ports {
    let store: Arc<dyn Store> = Arc::new(Refusing {
        inner: ports.store,
        refuses: Arc::new(refuses),
        hides: Arc::new(|_, _| false),
    });
    Ports { store, ..ports }
}

#[test]
fn an_outside_call_whose_outcome_is_refused_is_given_up() {
    let world = World::start(clock(Duration::from_secs(10)), |_, ports| {
        let rung = |message: &Envelope| message.body.ends_with(b"\"rung\":true}");
        refusing(ports, move |unit| unit.messages.iter().any(rung))
    });
    world.simulation.advance(Duration::from_secs(15));
    let rang = world.committed(Rang::NAME);
    let [(_, body)] = &rang[..] else {
        panic!("one outcome for one call: {rang:?}");
    };
    assert!(body.ends_with("\"rung\":false}"), "{body}");
    let given_up = ["WARN", "an outside call was given up", "code=\"refused\""];
    assert_eq!(world.log.count(&given_up), 1);
    let calls = world.model.store.records("clock".into(), "wb.call".into());
    assert_eq!(calls.len(), 0, "{calls:?}");
}

#[test]
fn an_outside_call_that_cannot_be_given_up_either_is_kept_and_logged() {
    let world = World::start(clock(Duration::from_secs(10)), |_, ports| {
        refusing(ports, |unit| !unit.messages.is_empty())
    });
    world.simulation.advance(Duration::from_secs(15));
    assert_eq!(world.committed(Rang::NAME), []);
    let calls = world.model.store.records("clock".into(), "wb.call".into());
    assert_eq!(calls.len(), 1, "{calls:?}");
    let kept = ["ERROR", "cannot be given up", "code=\"refused\""];
    assert!(world.log.count(&kept) >= 1);
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "clock.stopped", version = 1, key = at)]
struct Stopped {
    at: i64,
}

async fn wind(_: Stopped) -> Result<()> {
    Ok(())
}

/// A broker that has given up one delivery.
struct GivesUp {
    inner: Arc<dyn Transport>,
    delivery: Mutex<Option<Delivery>>,
    acknowledged: Arc<Mutex<Vec<Tag>>>,
}

impl Transport for GivesUp {
    forward_transport!(ping, declare, publish, consume, depth);

    fn broker_dead_letters(&self, _: Name) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        let consumer: Box<dyn Consumer> = Box::new(DeadLetters {
            delivery: self.delivery.lock().expect("not poisoned").take(),
            acknowledged: Arc::clone(&self.acknowledged),
        });
        Box::pin(async { Ok(Some(consumer)) })
    }
}

struct DeadLetters {
    delivery: Option<Delivery>,
    acknowledged: Arc<Mutex<Vec<Tag>>>,
}

impl Consumer for DeadLetters {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        let delivery = self.delivery.take();
        Box::pin(async move {
            match delivery {
                Some(delivery) => Ok(vec![delivery]),
                None => std::future::pending().await,
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Acknowledged(Arc::clone(&self.acknowledged)))
    }
}

struct Acknowledged(Arc<Mutex<Vec<Tag>>>);

impl Settler for Acknowledged {
    fn acknowledge(&self, tags: &[Tag]) {
        self.0.lock().expect("not poisoned").extend(tags);
    }

    fn requeue(&self, _: &[Tag]) {}
}

#[test]
fn a_refused_dead_letter_of_the_broker_is_logged_and_backs_off_between_attempts() {
    let attempts = Arc::<Mutex<Vec<Duration>>>::default();
    let refuses = Arc::new(AtomicBool::new(true));
    let acknowledged = Arc::<Mutex<Vec<Tag>>>::default();
    let service = Service::new("clock").on(wind);
    let world = World::start(App::new().service(service), |simulation, ports| {
        let delivery = Delivery {
            tag: Tag(7),
            redelivered: true,
            envelope: Ok(crate::transfers::envelope(simulation, &Stopped { at: 1 })),
            dead_lettered: Some(DeadLettered {
                queue: "clock.stopped".into(),
                reason: "delivery_limit".into(),
            }),
        };
        let transport = Arc::new(GivesUp {
            inner: Arc::clone(&ports.transport),
            delivery: Mutex::new(Some(delivery)),
            acknowledged: Arc::clone(&acknowledged),
        });
        let (simulation, refuses) = (simulation.clone(), Arc::clone(&refuses));
        let attempts = Arc::clone(&attempts);
        let ports = refusing(ports, move |unit| {
            let letter = unit
                .writes
                .iter()
                .any(|it| it.key.table.as_str() == "wb.dead");
            let refused = letter && refuses.load(Ordering::Relaxed);
            if refused {
                let mut attempts = attempts.lock().expect("not poisoned");
                attempts.push(simulation.elapsed());
            }
            refused
        });
        Ports { transport, ..ports }
    });
    let hour = Duration::from_secs(3_600);
    world.simulation.advance(hour);
    let attempts = attempts.lock().expect("not poisoned").clone();
    let pauses: Vec<_> = attempts.windows(2).map(|it| it[1] - it[0]).collect();
    assert!((40..80).contains(&attempts.len()), "{}", attempts.len());
    assert!(pauses[0] >= Duration::from_secs(1), "{pauses:?}");
    assert!(pauses[..6].is_sorted(), "they grow: {pauses:?}");
    let longest = pauses.iter().max().expect("pauses");
    assert!(*longest <= Duration::from_secs(80), "{longest:?}");
    let logged = ["ERROR", "cannot store a dead letter", "code=\"refused\""];
    assert_eq!(world.log.count(&logged), attempts.len());
    assert_eq!(*acknowledged.lock().expect("not poisoned"), []);

    refuses.store(false, Ordering::Relaxed);
    world.simulation.advance(Duration::from_secs(80));
    let letters = world
        .simulation
        .run(world.running.dead_letters("clock".into()));
    assert_eq!(letters.expect("the store reads").len(), 1);
    assert_eq!(*acknowledged.lock().expect("not poisoned"), [Tag(7)]);
}
