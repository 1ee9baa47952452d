//! Groups of dead letters and redrives, on SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::{Decision, Incident, RedriveState, Selection};
use wingbeat::ports::Transport as _;
use wingbeat::{
    App, Entity, Error, Event, JsonSchema, Name, Result, Running, Runtime as _, Service, Table,
    TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

const SERVICE: Name = Name::new("meters");
const READINGS: u32 = 60;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
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

/// Starts a service that fails until it is mended.
async fn start(
    embedded: &Arc<Embedded>,
    runtime: &Arc<TokioRuntime>,
    directory: &std::path::Path,
    mended: &Arc<AtomicBool>,
) -> Running {
    let ports = setup::ports(runtime.clone(), embedded, directory);
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
    app.allow_unknown_owners().start(ports).await.unwrap()
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

fn sum(groups: &[Incident]) -> u64 {
    groups.iter().map(|it| it.count).sum()
}

#[tokio::test]
async fn a_group_is_redriven_once_each_after_its_canary() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let mended = Arc::new(AtomicBool::new(false));
    let running = start(&embedded, &runtime, directory.path(), &mended).await;
    for number in 0..READINGS {
        let meter = format!("m{}", number % 7);
        let reading = MeterRead { meter, number };
        let envelope = wingbeat::ports::published_by("reader", &reading, &*runtime);
        assert_eq!(embedded.publish(vec![envelope]).await, [Ok(())]);
    }
    let groups = async || running.incidents_of(SERVICE).await;
    let all = |groups: &Vec<Incident>| sum(groups) == u64::from(READINGS);
    for (mends, wanted) in [
        (false, (RedriveState::Stopped, 1, 1)),
        (true, (RedriveState::Done, u64::from(READINGS), 0)),
    ] {
        // A canary that has failed is in no group until it is sorted again.
        let groups = until(&runtime, groups, all).await;
        assert_eq!((groups.len(), groups[0].affected_keys()), (1, 7));
        mended.store(mends, Ordering::SeqCst);
        let mut selection = Selection::default();
        selection.group = Some(groups[0].group.clone());
        selection.rate = 1_000;
        let by = Decision::by("ada").because("mended");
        let begun = running.redrive(SERVICE, selection, &by).await.unwrap();
        let id = begun.expect("it runs").id;
        let one = async || {
            let all = running.redrives_of(SERVICE).await?;
            Ok(all
                .into_iter()
                .find(|it| it.id == id)
                .expect("it is listed"))
        };
        let ended = until(&runtime, one, |it| !it.is_active()).await;
        assert_eq!((ended.state, ended.sent, ended.failed), wanted, "{ended:?}");
    }
    let reads = running.reads("meters").unwrap();
    let times = async || {
        let readings = reads.entities::<Reading>(None, 1_000).await?;
        Ok(readings.iter().map(|(_, it)| it.times).collect::<Vec<_>>())
    };
    let every = |times: &Vec<u32>| times.len() == READINGS as usize;
    let times = until(&runtime, times, every).await;
    assert!(times.iter().all(|it| *it == 1), "{times:?}");
    assert_eq!(running.dead_letters(SERVICE).await.unwrap().len(), 0);
    assert_eq!(running.actions(SERVICE, 10).await.unwrap().len(), 4);
    running.drain().await;
}
