//! A tenant with many messages, and others behind it, on SQLite as store and broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::call::HyperClient;
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::{
    App, Event, Handler as _, JsonSchema, Message as _, Ports, Result, Runtime as _,
    RuntimeExt as _, Service, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

const NOISY: u32 = 900;
const QUIET: u32 = 10;
/// The time for which a message is handled.
const WORK: Duration = Duration::from_millis(10);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "reports.requested", version = 1, key = report)]
struct Requested {
    report: u32,
    customer: String,
}

/// The number of runs for each report.
type Printed = Arc<Mutex<BTreeMap<u32, u32>>>;

fn app(runtime: &Arc<TokioRuntime>, printed: &Printed) -> App {
    let (runtime, printed) = (Arc::clone(runtime), Arc::clone(printed));
    let print = move |event: Requested| {
        let (runtime, printed) = (Arc::clone(&runtime), Arc::clone(&printed));
        async move {
            runtime.sleep(WORK).await;
            *printed.lock().unwrap().entry(event.report).or_default() += 1;
            Ok(()) as Result<()>
        }
    };
    let print = print.concurrency_per(1, |it: &Requested| it.customer.clone());
    App::new().service(Service::new("printers").on(print))
}

fn request(runtime: &TokioRuntime, report: u32, customer: &str) -> Envelope {
    let customer = customer.to_owned();
    let event = Requested { report, customer };
    let id = runtime.id();
    Envelope {
        id: id.into(),
        source: "reader".into(),
        kind: Requested::NAME.into(),
        role: Requested::KIND,
        key: event.key(),
        time: runtime.now(),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: wingbeat::encode_body(&event),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_behind_those_of_a_noisy_tenant_are_handled_first() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let printed = Printed::default();
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded.clone(),
        cache: EmbeddedCache::open(directory.path(), runtime.clone()).unwrap(),
        http: HyperClient::new(),
    };
    let app = app(&runtime, &printed).allow_unknown_owners();
    let running = app.start(ports).await.unwrap();
    let noisy = (0..NOISY).map(|it| request(&runtime, it, "noisy"));
    let quiet = (NOISY..NOISY + QUIET).map(|it| request(&runtime, it, "quiet"));
    let answers = embedded.publish(noisy.chain(quiet).collect()).await;
    assert!(answers.iter().all(std::result::Result::is_ok));

    let until = async |what: &str, holds: &dyn Fn(&BTreeMap<u32, u32>) -> bool| {
        let begun = Instant::now();
        while !holds(&printed.lock().unwrap()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
            runtime.sleep(Duration::from_millis(5)).await;
        }
    };
    let is_quiet = |report: &&u32| **report >= NOISY;
    until("the quiet tenant waits", &|printed| {
        printed.keys().filter(is_quiet).count() == QUIET as usize
    })
    .await;
    let noisy = printed.lock().unwrap().len() as u32 - QUIET;
    assert!(noisy < NOISY / 2, "{noisy} came first");
    until("some are lost", &|printed| {
        printed.len() as u32 == NOISY + QUIET
    })
    .await;
    running.drain().await;
    assert!(printed.lock().unwrap().values().all(|runs| *runs == 1));
    let parked = running.parked("printers".into()).await.unwrap();
    assert_eq!(parked.values().sum::<u64>(), 0);
}
