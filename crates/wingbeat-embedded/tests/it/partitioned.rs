//! Two replicas of a subscription with partitions, on SQLite as store and broker.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::call::HyperClient;
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::{
    App, Entity, Event, Handler as _, JsonSchema, Message as _, Ports, Result, Running,
    Runtime as _, RuntimeExt as _, Service, Table, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

const METERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const READINGS: u32 = 150;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

/// The readings of a meter, in the order in which they were handled.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Log(Vec<u32>);

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

/// The replicas that have handled something.
type Workers = Arc<Mutex<BTreeSet<u32>>>;

async fn start(embedded: &Arc<Embedded>, data: &Path, app: App) -> Running {
    let runtime = TokioRuntime::new();
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded.clone(),
        cache: EmbeddedCache::open(data, runtime).unwrap(),
        http: HyperClient::new(),
    };
    app.allow_unknown_owners().start(ports).await.unwrap()
}

/// A release with this number of partitions; 0 for an ordered subscription.
fn app(replica: u32, partitions: u32, workers: &Workers) -> App {
    let workers = Arc::clone(workers);
    let keep = move |event: MeterRead, logs: Table<Log>| {
        workers.lock().unwrap().insert(replica);
        async move {
            let kept = logs.update(&event.meter, |known| {
                let mut log: Log = known.unwrap_or_default();
                log.0.push(event.number);
                log
            });
            kept.await.map(drop) as Result<()>
        }
    };
    let meters = Service::new("meters");
    App::new().service(match partitions {
        0 => meters.on(keep.ordered()),
        _ => meters.on(keep.partitioned(partitions)),
    })
}

async fn send(embedded: &Embedded, runtime: &TokioRuntime, number: u32) {
    let envelopes = METERS.map(|meter| {
        let meter = meter.into();
        let reading = MeterRead { meter, number };
        let id = runtime.id();
        Envelope {
            id: id.into(),
            source: "reader".into(),
            kind: MeterRead::NAME.into(),
            role: MeterRead::KIND,
            key: reading.key(),
            time: runtime.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: wingbeat::encode_body(&reading),
        }
    });
    let answers = embedded.publish(envelopes.into()).await;
    assert!(answers.iter().all(std::result::Result::is_ok));
}

async fn until(runtime: &TokioRuntime, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
        runtime.sleep(Duration::from_millis(20)).await;
    }
}

async fn logs(running: &Running) -> Vec<Vec<u32>> {
    let reads = running.reads("meters").unwrap();
    let logs = reads.entities::<Log>(None, 100).await.unwrap();
    logs.into_iter().map(|(_, log)| log.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_keep_the_order_while_the_partitions_grow_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let workers = Workers::default();
    let first = start(&embedded, directory.path(), app(0, 2, &workers)).await;
    let second = start(&embedded, directory.path(), app(1, 2, &workers)).await;
    let kept = async |running: &Running, count: u32| {
        let all = logs(running).await;
        all.len() == METERS.len() && all.iter().all(|log| log.len() >= count as usize)
    };
    let mut sent = 0;
    until(&runtime, "both replicas work", async || {
        send(&embedded, &runtime, sent).await;
        sent += 1;
        workers.lock().unwrap().len() == 2
    })
    .await;
    let third = start(&embedded, directory.path(), app(2, 4, &workers)).await;
    first.drain().await;
    until(&runtime, "the new replica works", async || {
        send(&embedded, &runtime, sent).await;
        sent += 1;
        workers.lock().unwrap().len() == 3 && sent > READINGS
    })
    .await;
    second.drain().await;
    let fourth = start(&embedded, directory.path(), app(3, 0, &workers)).await;
    third.drain().await;
    until(&runtime, "the ordered replica works", async || {
        send(&embedded, &runtime, sent).await;
        sent += 1;
        workers.lock().unwrap().len() == 4
    })
    .await;
    until(&runtime, "all is handled", async || {
        kept(&fourth, sent).await
    })
    .await;
    for log in logs(&fourth).await {
        assert_eq!(log, (0..sent).collect::<Vec<_>>());
    }
    fourth.drain().await;
}
