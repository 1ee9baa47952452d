//! Messages whose own attributes the store cannot keep: their dead letters are stored without them,
//! after few attempts and log lines.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Consumer, Delivery, Envelope, Tag, Transport, Unit};
use wingbeat::test::{Model, Simulation};
use wingbeat::transport::Settler;
use wingbeat::{
    App, BoxFuture, Error, Event, JsonSchema, Message as _, Name, Ports, Result, Service, schemars,
};

use crate::found::Nowhere;
use crate::refusing::{Log, Refusing};
use crate::transfers::envelope;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.sold", version = 1, key = item)]
struct Sold {
    item: String,
}

async fn count(_: Sold) -> Result<()> {
    Ok(())
}

/// The letters in the writes of a unit.
fn letters(unit: &Unit) -> usize {
    let tables = unit.writes.iter().map(|write| write.key.table.as_str());
    tables.filter(|table| *table == "wb.dead").count()
}

/// Behaves like PostgreSQL with a value that no index takes: it refuses every unit
/// that has the value in a key.
fn refuses(unit: &Unit) -> bool {
    let poisonous = |text: &str| text.contains("poison");
    let settles = unit.settles.iter().any(|it| poisonous(&it.source));
    settles || unit.writes.iter().any(|write| poisonous(&write.key.id))
}

/// Runs an app on a store that refuses units, and returns the dead letters and the number of
/// attempts to store them.
fn run(
    refuses: impl Fn(&Unit) -> bool + Send + Sync + 'static,
) -> (Vec<wingbeat::app::DeadLetter>, usize, Log) {
    let (log, _recording) = Log::start();
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let process = simulation.group();
    let attempts = Arc::<Mutex<usize>>::default();
    let counted = Arc::clone(&attempts);
    let ports = model.ports(&process, Arc::new(Nowhere));
    let store = Arc::new(Refusing {
        inner: ports.store,
        refuses: Arc::new(move |unit| {
            *counted.lock().expect("not poisoned") += letters(unit);
            refuses(unit)
        }),
        hides: Arc::new(|_, _| false),
    });
    let app = App::new().service(Service::new("shop").on(count));
    let running = simulation.run(app.allow_unknown_owners().start(Ports { store, ..ports }));
    let running = running.expect("it starts");
    let message = |source: &str, item: &str| Envelope {
        source: source.to_owned().into(),
        ..envelope(&simulation, &Sold { item: item.into() })
    };
    let mut messages: Vec<Envelope> = (0..5)
        .map(|n| message("poison", &format!("p{n}")))
        .collect();
    messages.push(message("elsewhere", "good"));
    let sent = simulation.run(model.transport.publish(messages));
    assert!(sent.iter().all(std::result::Result::is_ok), "{sent:?}");
    simulation.advance(Duration::from_secs(3_600));
    let letters = simulation.run(running.dead_letters(Name::new("shop")));
    let counters = simulation.run(running.reads("shop").expect("it runs").counters());
    let handled = counters.expect("the store reads").into_iter();
    let mut handled = handled.filter(|(name, _)| name.as_str().starts_with("handled:"));
    assert!(
        handled.any(|(_, count)| count == 1),
        "the good message is handled"
    );
    let attempts = *attempts.lock().expect("not poisoned");
    drop(running);
    simulation.end();
    (letters.expect("the store reads"), attempts, log)
}

#[test]
fn a_dead_letter_that_the_store_refuses_is_stored_without_the_attributes() {
    let (letters, attempts, log) = run(refuses);
    assert_eq!(letters.len(), 5);
    for letter in &letters {
        assert_eq!(letter.reason, "refused");
        let message = letter.message().expect("it has one");
        assert_eq!((&*message.source, &*message.kind), ("unknown", Sold::NAME));
    }
    assert_eq!(attempts, 10, "each is refused once");
    assert!(log.count(&["dead letter"]) <= 10);
}

#[test]
fn a_store_that_refuses_every_dead_letter_is_asked_ever_more_rarely() {
    let (letters, attempts, log) = run(|unit| letters(unit) > 0 || refuses(unit));
    assert!(letters.is_empty(), "{letters:?}");
    // An hour with pauses of up to 75 s.
    assert!((5 * 40..5 * 90).contains(&attempts), "{attempts}");
    let lines = log.count(&["WARN"]) + log.count(&["ERROR"]);
    assert!(lines <= attempts + 20, "{lines} lines");
}

/// A broker whose consumers end at once, as after a delivery that the client cannot parse.
struct Loses {
    inner: Arc<dyn Transport>,
    consumed: Arc<Mutex<usize>>,
}

impl Transport for Loses {
    forward_transport!(ping, declare, publish, depth);

    fn consume(&self, _: Name, _: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        *self.consumed.lock().expect("not poisoned") += 1;
        Box::pin(async { Ok(Box::new(Lost) as Box<dyn Consumer>) })
    }

    fn broker_dead_letters(&self, _: Name) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        *self.consumed.lock().expect("not poisoned") += 1;
        Box::pin(async { Ok(Some(Box::new(Lost) as Box<dyn Consumer>)) })
    }
}

struct Lost;

impl Consumer for Lost {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async {
            Err(Error::retry(
                "consumer_lost",
                "the broker ended the consumer",
            ))
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Self)
    }
}

impl Settler for Lost {
    fn acknowledge(&self, _: &[Tag]) {}

    fn requeue(&self, _: &[Tag]) {}
}

#[test]
fn consumers_that_do_not_last_are_replaced_with_growing_pauses() {
    let (log, _recording) = Log::start();
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let process = simulation.group();
    let consumed = Arc::<Mutex<usize>>::default();
    let ports = model.ports(&process, Arc::new(Nowhere));
    let transport = Arc::new(Loses {
        inner: Arc::clone(&ports.transport),
        consumed: Arc::clone(&consumed),
    });
    let app = App::new().service(Service::new("shop").on(count));
    let app = app.allow_unknown_owners();
    let running = simulation.run(app.start(Ports { transport, ..ports }));
    simulation.advance(Duration::from_secs(3_600));
    // Every 30 s for the subscription, every 60 s or more for the broker's dead letters.
    let consumed = *consumed.lock().expect("not poisoned");
    assert!(
        (120..230).contains(&consumed),
        "{consumed} consumers in an hour"
    );
    assert!(log.count(&["consumer lost"]) <= 130);
    drop(running);
    simulation.end();
}
