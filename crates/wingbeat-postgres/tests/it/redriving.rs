//! Groups of dead letters and redrives, on PostgreSQL and two replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::{Decision, Incident, RedriveState, Selection};
use wingbeat::call::HyperClient;
use wingbeat::test::model::Model;
use wingbeat::{
    App, CorrelationId, Entity, Error, Event, JsonSchema, Name, Ports, Result, Running,
    Runtime as _, RuntimeExt as _, Service, Table, TokioRuntime, schemars,
};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::Postgres as Server;

use crate::conformance::block_on;

const SERVICE: Name = Name::new("meters");
const READINGS: u32 = 120;

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Reading {
    times: u32,
}

impl Entity for Reading {
    const NAME: &'static str = "reading";
    type Id = u32;
}

async fn start(
    server: &Server,
    model: &Model,
    runtime: &Arc<TokioRuntime>,
    mended: &Arc<AtomicBool>,
) -> Running {
    let database = Postgres::connect(&Config::new(server.url()), runtime.clone()).await;
    let ports = Ports {
        runtime: runtime.clone(),
        store: database.expect("the server takes connections"),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: HyperClient::new(),
    };
    let is_mended = Arc::clone(mended);
    let keep = move |event: MeterRead, readings: Table<Reading>| {
        let mended = is_mended.load(Ordering::SeqCst);
        async move {
            if !mended {
                return Err(Error::reject("broken", "the meter is broken"));
            }
            let counted = readings.update(&event.number, |known| Reading {
                times: known.unwrap_or_default().times + 1,
            });
            counted.await.map(drop)
        }
    };
    let app = App::new().service(Service::new("meters").on(keep));
    let running = app.allow_unknown_owners().start(ports).await;
    running.unwrap_or_else(|why| panic!("{why}"))
}

fn sum(groups: &[Incident]) -> u64 {
    groups.iter().map(|it| it.count).sum()
}

/// Waits until the store answers like this.
async fn until<T>(
    runtime: &TokioRuntime,
    ask: impl AsyncFn() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> T {
    for _ in 0..3_000 {
        let answer = ask().await.expect("the store answers");
        if wanted(&answer) {
            return answer;
        }
        runtime.sleep(Duration::from_millis(10)).await;
    }
    panic!("the condition was not met in time");
}

#[test]
fn replicas_sort_and_redrive_each_dead_letter_once() {
    block_on(async {
        let server = Server::start();
        let runtime = TokioRuntime::new();
        let model = Model::new(runtime.clone());
        let mended = Arc::new(AtomicBool::new(false));
        let one = start(&server, &model, &runtime, &mended).await;
        let other = start(&server, &model, &runtime, &mended).await;
        for number in 0..READINGS {
            let meter = format!("m{}", number % 7);
            let story = CorrelationId(runtime.id());
            model.publish(story, &MeterRead { meter, number }).await;
        }
        let all = |groups: &Vec<Incident>| sum(groups) == u64::from(READINGS);
        let groups = until(&runtime, async || one.incidents_of(SERVICE).await, all).await;
        assert_eq!((groups.len(), groups[0].failures), (1, u64::from(READINGS)));
        assert_eq!(groups[0].affected_keys(), 7);

        for (mends, wanted) in [
            (false, (RedriveState::Stopped, 1, 1)),
            (true, (RedriveState::Done, u64::from(READINGS), 0)),
        ] {
            until(&runtime, async || other.incidents_of(SERVICE).await, all).await;
            mended.store(mends, Ordering::SeqCst);
            let mut selection = Selection::default();
            selection.group = Some(groups[0].group.clone());
            selection.rate = 500;
            let by = Decision::by("ada").because("mended");
            let begun = other.redrive(SERVICE, selection, &by).await.unwrap();
            let id = begun.expect("it runs").id;
            let ended = until(
                &runtime,
                async || {
                    let all = one.redrives_of(SERVICE).await?;
                    Ok(all
                        .into_iter()
                        .find(|it| it.id == id)
                        .expect("it is listed"))
                },
                |it| !it.is_active(),
            );
            let ended = ended.await;
            assert_eq!((ended.state, ended.sent, ended.failed), wanted, "{ended:?}");
        }
        let reads = one.reads("meters").unwrap();
        let times = async || {
            let readings = reads.entities::<Reading>(None, 1_000).await?;
            Ok(readings.iter().map(|(_, it)| it.times).collect::<Vec<_>>())
        };
        let every = |times: &Vec<u32>| times.len() == READINGS as usize;
        let times = until(&runtime, times, every).await;
        assert!(times.iter().all(|it| *it == 1), "{times:?}");
        assert_eq!(one.dead_letters(SERVICE).await.unwrap().len(), 0);
        assert_eq!(sum(&one.incidents_of(SERVICE).await.unwrap()), 0);
        one.drain().await;
        other.drain().await;
    });
}
