//! Groups of dead letters and redrives, on SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::{Decision, RedriveState, Selection};
use wingbeat::ports::Transport as _;
use wingbeat::{
    App, Entity, Error, Event, JsonSchema, Name, Runtime as _, Service, Table, TokioRuntime,
    schemars,
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

#[tokio::test]
async fn a_group_is_redriven_once_each_after_its_canary() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let ports = setup::ports(runtime.clone(), &embedded, directory.path());
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
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
    let running = app.allow_unknown_owners().start(ports).await.unwrap();
    for number in 0..READINGS {
        let meter = format!("m{}", number % 7);
        let reading = MeterRead { meter, number };
        let envelope = wingbeat::ports::published_by("reader", &reading, &*runtime);
        assert_eq!(embedded.publish(vec![envelope]).await, [Ok(())]);
    }
    let pause = || runtime.sleep(Duration::from_millis(20));
    let mut groups = Vec::new();
    for _ in 0..1_500 {
        groups = running.incidents_of(SERVICE).await.unwrap();
        if groups.iter().map(|it| it.count).sum::<u64>() == u64::from(READINGS) {
            break;
        }
        pause().await;
    }
    let [group] = groups.as_slice() else {
        panic!("not one group: {groups:?}");
    };
    assert_eq!(
        (group.count, group.affected_keys()),
        (u64::from(READINGS), 7)
    );

    for (mends, wanted) in [
        (false, (RedriveState::Stopped, 1, 1)),
        (true, (RedriveState::Done, u64::from(READINGS), 0)),
    ] {
        mended.store(mends, Ordering::SeqCst);
        let mut selection = Selection::default();
        selection.group = Some(group.group.clone());
        selection.rate = 1_000;
        if !mends {
            // Until the canary is sorted again, it is in no group.
            assert_eq!(running.dead_letters(SERVICE).await.unwrap().len(), 60);
        }
        let by = Decision::by("ada").because("mended");
        let begun = running
            .redrive(SERVICE, selection, &by)
            .await
            .unwrap()
            .unwrap();
        let mut ended = begun.clone();
        for _ in 0..1_500 {
            let all = running.redrives_of(SERVICE).await.unwrap();
            ended = all.into_iter().find(|it| it.id == begun.id).unwrap();
            let sorted = running.incidents_of(SERVICE).await.unwrap();
            let left = sorted.iter().map(|it| it.count).sum::<u64>();
            if !ended.is_active() && (left == u64::from(READINGS) || mends) {
                break;
            }
            pause().await;
        }
        assert_eq!((ended.state, ended.sent, ended.failed), wanted, "{ended:?}");
    }
    assert_eq!(running.dead_letters(SERVICE).await.unwrap().len(), 0);
    let reads = running.reads("meters").unwrap();
    for number in 0..READINGS {
        let mut times = 0;
        for _ in 0..1_500 {
            let reading = reads.entity::<Reading>(&number).await.unwrap();
            times = reading.unwrap_or_default().times;
            if times > 0 {
                break;
            }
            pause().await;
        }
        assert_eq!(times, 1, "{number}");
    }
    assert_eq!(running.actions(SERVICE, 10).await.unwrap().len(), 4);
    running.drain().await;
}
