//! Our whole runtime on PostgreSQL: a service that publishes, and a service with an empty handler.
//!
//! Each published event is a unit of work that the store commits and the relay publishes. Each
//! consumed event is a unit that contains only its inbox row; the delivery is acknowledged when the
//! unit is durable.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use wingbeat::Ports;
use wingbeat::ServiceContext;
use wingbeat::TokioRuntime;
use wingbeat::call::HyperClient;
use wingbeat::ports::Store as _;
use wingbeat::{
    App, Effects, Handler as _, Message as _, Parts, Result, Running, Scope, Service, State,
    run_unit,
};
use wingbeat_embedded::EmbeddedCache;
use wingbeat_postgres::{Config, Postgres};

use super::transport::{Noted, connect, topology};
use crate::protocol::Commands;
use crate::workload::{Job, Pace, Tally, WINDOW};

/// The name of the consuming service, with which its queue begins.
const SERVICE: &str = "bench";
/// The name of the publishing service.
const SOURCE: &str = "source";

/// The state of the consuming service.
#[derive(Clone, Parts)]
struct Consumer {
    tally: Arc<Tally>,
}

/// Handles a message without reads and writes.
async fn no_op(noted: Noted, State(tally): State<Arc<Tally>>) -> Result<()> {
    tally.count(noted.at);
    Ok(())
}

/// Connects the ports to a broker and a database.
pub(crate) async fn ports(job: &Job) -> (Arc<Postgres>, Ports, tempfile::TempDir) {
    let (runtime, transport) = connect(job).await;
    let config = Config::new(&job.store);
    let store = Postgres::connect(&config, runtime.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports {
        store: store.clone(),
        transport,
        cache: cache(&folder, runtime.clone()),
        http: HyperClient::new(),
        runtime,
    };
    (store, ports, folder)
}

fn cache(folder: &tempfile::TempDir, runtime: Arc<TokioRuntime>) -> Arc<EmbeddedCache> {
    EmbeddedCache::open(folder.path(), runtime).unwrap()
}

pub(super) async fn produce(job: &Job, pace: Pace) {
    let (store, ports, _folder) = ports(job).await;
    ports
        .transport
        .declare(&topology(&job.queue))
        .await
        .unwrap();
    let app = App::new().service(Service::new(SOURCE));
    let running = app.start(ports).await.unwrap();
    let context = running.service(SOURCE).unwrap();
    let mut commands = Commands::start().await;
    let mut pending = FuturesUnordered::new();
    let (mut schedule, mut sent) = (pace.start(), 0);
    loop {
        while pending.len() < WINDOW && schedule.next().await {
            sent += 1;
            pending.push(publish(&context, sent));
            if schedule.is_paced() {
                while let Some(Some(())) = pending.next().now_or_never() {}
            }
        }
        if pending.next().await.is_none() {
            break;
        }
    }
    let outbox = store.outbox().unwrap();
    while outbox.waiting(Noted::NAME).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    schedule.finish(sent);
    commands.end().await;
    drop::<Running>(running);
}

async fn publish(context: &Arc<ServiceContext>, number: u64) {
    let work = |scope: Scope| async move {
        let mut effects = Effects::new();
        effects.publish(&Noted::new(number));
        scope.emit(effects)
    };
    run_unit(context, work).await.unwrap();
}

pub(super) async fn consume(job: &Job) {
    let (_store, ports, _folder) = ports(job).await;
    let tally = Arc::<Tally>::default();
    let state = Consumer {
        tally: Arc::clone(&tally),
    };
    let name = job.queue.strip_prefix("bench.").unwrap().to_owned();
    let handler = no_op.named(String::leak(name)).concurrency(WINDOW);
    let service = Service::new(SERVICE).with_state(state).on(handler);
    ports
        .transport
        .declare(&topology(&job.queue))
        .await
        .unwrap();
    let commands = Commands::start().await;
    let _running = App::new().service(service).start(ports).await.unwrap();
    tally.finish(commands).await;
}
