//! Recordings on SQLite and on PostgreSQL.
#![allow(
    clippy::disallowed_methods,
    reason = "real stores: their clock is the machine's"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::{HttpClient, published_by};
use wingbeat::run::Backends;
use wingbeat::story::Story;
use wingbeat::test::replay::Replayer;
use wingbeat::tls::TlsFiles;
use wingbeat::{BoxFuture, Ports, Recording, Result, TokioRuntime};
use wingbeat_postgres::{Config, Postgres};

use super::shop::{Place, Release, carrier, shop};

const PATIENCE: Duration = Duration::from_secs(60);
const ORDERS: u32 = 12;
/// The units of an order: its start, the reservation, the two subscribers of it, the saga's step,
/// the call, and the step after it.
const UNITS: usize = 7;

struct Carrier<F>(F);

impl<F: Fn(Request) -> Result<Response> + Send + Sync + 'static> HttpClient for Carrier<F> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        let answer = (self.0)(request);
        Box::pin(async { answer })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("it starts").block_on(future)
}

async fn embedded(directory: &std::path::Path) -> Ports {
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory, "shop", &tls, &runtime).await;
    opened.expect("it opens").ports
}

/// Places orders, waits until each is recorded to its end, and replays all.
async fn records_and_replays(ports: Ports) {
    let ports = Ports {
        http: Arc::new(Carrier(carrier())),
        ..ports
    };
    let app = shop(Release::ReservesOne).recording(Recording::all());
    let running = app.start(ports.clone()).await.expect("it starts");
    let mut placed = Vec::new();
    for order in 0..ORDERS {
        let item = "egg".to_owned();
        let place = Place {
            order,
            item,
            count: 2,
        };
        let message = published_by("test", &place, &*ports.runtime);
        placed.push(message.correlation);
        let sent = ports.transport.publish(vec![message]).await;
        assert!(sent[0].is_ok(), "{sent:?}");
    }
    let mut stories: Vec<Story> = Vec::new();
    for story in placed {
        let begun = Instant::now();
        stories.push(loop {
            let recorded = running.recorded(story).await.expect("the store reads");
            if recorded.units.len() >= UNITS - 1 {
                break recorded; // A batch belongs to the story of its first message.
            }
            assert!(begun.elapsed() < PATIENCE, "{recorded:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
    }
    let (same, mended) = (
        Replayer::new(shop(Release::ReservesOne)),
        Replayer::new(shop(Release::Good)),
    );
    for story in &stories {
        let read_again = Story::decode(&story.encode()).expect("a story");
        let report = same.replay(&read_again);
        report.assert_same();
        assert!(report.skipped.is_empty(), "{:?}", report.skipped);
        let shown = mended.replay(&read_again).to_string();
        assert!(shown.contains("event shelf/egg number"), "{shown}");
        assert!(shown.contains("recorded 1, now 2"), "{shown}");
    }
    running.drain().await;
}

#[test]
fn stories_are_recorded_in_a_directory() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        records_and_replays(embedded(directory.path()).await).await;
    });
}

#[test]
fn stories_are_recorded_on_postgresql() {
    let server = wingbeat_servers::Postgres::start();
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config::new(server.url());
        let store = Postgres::connect(&config, TokioRuntime::new()).await;
        let ports = Ports {
            store: store.expect("it connects"),
            ..embedded(directory.path()).await
        };
        records_and_replays(ports).await;
    });
}
