//! Retry policies with rules and with a maximum age, on SQLite.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::Transport as _;
use wingbeat::{
    App, Attempts, Error, Event, Handler as _, JsonSchema, Name, Retry, Running, Runtime as _,
    Service, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

const SERVICE: Name = Name::new("meters");
const MILLI: Duration = Duration::from_millis(1);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

/// A service that fails for a number of attempts at the first reading.
struct Meters {
    /// Of the store.
    _directory: tempfile::TempDir,
    embedded: Arc<Embedded>,
    runtime: Arc<TokioRuntime>,
    running: Running,
    attempts: Arc<AtomicU32>,
    /// The readings, in the order in which they were handled.
    handled: Arc<Mutex<Vec<u32>>>,
}

impl Meters {
    async fn start(retry: Retry, failures: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = TokioRuntime::new();
        let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
        let ports = setup::ports(runtime.clone(), &embedded, directory.path());
        let attempts = Arc::new(AtomicU32::new(0));
        let handled = Arc::new(Mutex::new(Vec::new()));
        let (of_handler, order) = (Arc::clone(&attempts), Arc::clone(&handled));
        let keep = move |event: MeterRead| {
            let first = event.number == 1;
            let fails = first && of_handler.fetch_add(1, Ordering::SeqCst) < failures;
            if !fails {
                order.lock().unwrap().push(event.number);
            }
            async move {
                let error = Error::retry("busy", "the meter is busy");
                if fails { Err(error) } else { Ok(()) }
            }
        };
        let meters = Service::new("meters").on(keep.retry(retry));
        let app = App::new().service(meters).allow_unknown_owners();
        let meters = Self {
            _directory: directory,
            running: app.start(ports).await.unwrap(),
            embedded,
            runtime,
            attempts,
            handled,
        };
        for number in 1..=3 {
            meters.read(number).await;
        }
        meters
    }

    async fn read(&self, number: u32) {
        let meter = "a".into();
        let reading = MeterRead { meter, number };
        let envelope = wingbeat::ports::published_by("reader", &reading, &*self.runtime);
        assert_eq!(self.embedded.publish(vec![envelope]).await, [Ok(())]);
    }

    /// Waits until this is true of the readings handled and the reasons of dead letters.
    async fn until(&self, expected: impl Fn(&[u32], &[String]) -> bool) -> (Vec<u32>, Vec<String>) {
        for _ in 0..4_000 {
            let letters = self.running.dead_letters(SERVICE).await.unwrap();
            let reasons: Vec<String> = letters.into_iter().map(|it| it.reason).collect();
            let handled = self.handled.lock().unwrap().clone();
            if expected(&handled, &reasons) {
                self.running.drain().await;
                return (handled, reasons);
            }
            self.runtime.sleep(5 * MILLI).await;
        }
        panic!("the condition was not met in time");
    }
}

#[tokio::test]
async fn a_held_delivery_keeps_the_order_of_its_key_and_a_parked_one_does_not() {
    let pauses = [2_000 * MILLI, 10 * MILLI];
    let rules = [
        (Attempts::held(pauses), [1, 2, 3]),
        (Attempts::parked(pauses), [2, 3, 1]),
    ];
    for (rule, order) in rules {
        let meters = Meters::start(Retry::default().on_code("busy", rule), 2).await;
        let (handled, reasons) = meters.until(|handled, _| handled.len() == 3).await;
        assert_eq!((handled, reasons), (order.to_vec(), vec![]));
    }
}

#[tokio::test]
async fn a_rule_without_attempts_makes_a_dead_letter_at_once() {
    let retry = Retry::default().on_code("busy", Attempts::none());
    let meters = Meters::start(retry, 1).await;
    let (handled, reasons) = meters
        .until(|handled, reasons| handled.len() + reasons.len() == 3)
        .await;
    assert_eq!((handled, reasons), (vec![2, 3], vec!["busy".into()]));
    assert_eq!(meters.attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_parked_delivery_becomes_too_old_long_before_its_next_attempt() {
    let hour = Duration::from_secs(3_600);
    let retry = Retry::default().on_code("busy", Attempts::parked([hour]));
    let meters = Meters::start(retry.max_age(500 * MILLI), u32::MAX).await;
    let (_, reasons) = meters.until(|_, reasons| !reasons.is_empty()).await;
    assert_eq!(reasons, ["too_old"]);
    assert_eq!(meters.attempts.load(Ordering::SeqCst), 1);
}
