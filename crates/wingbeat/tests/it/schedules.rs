//! Schedules run once per planned time, whatever happens to replicas and clocks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::test::simulator::Report;
use wingbeat::test::{Process, Simulator, System, TestApp, Violation, World};
use wingbeat::{
    App, BoxFuture, Entity, Error, Meta, Missed, Now, Result, Running, Runtime as _, Schedule,
    Scope, Service, Table, Timestamp,
};

use crate::again::{self, fails_without};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The runs of one planned time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Runs(u32);

impl Entity for Runs {
    const NAME: &'static str = "runs";
    type Id = String;
}

async fn strike(meta: Meta, runs: Table<Runs>) -> Result<()> {
    let count = |runs: Option<Runs>| Runs(runs.unwrap_or_default().0 + 1);
    runs.update(&meta.time.to_string(), count).await?;
    Ok(())
}

fn time(text: &str) -> Timestamp {
    serde_json::from_value(text.into()).expect("a time")
}

/// A clock with two replicas that never misses a planned time.
struct Clock;

/// The period of the clock.
const PERIOD: Duration = Duration::from_secs(10);

/// Takes longer than the lease of its record at each fifth planned time, so that the other replica
/// begins the run, too.
async fn strike_slowly(meta: Meta, runs: Table<Runs>, scope: Scope) -> Result<()> {
    if meta.time.as_millis() / 10_000 % 5 == 0 {
        scope.runtime().sleep(4 * PERIOD).await;
    }
    strike(meta, runs).await
}

fn clock() -> Service {
    let all = Schedule::every(PERIOD).missed(Missed::All);
    Service::new("clock").schedule("strike", all, strike_slowly)
}

impl System for Clock {
    fn new(_: &World) -> Self {
        Self
    }

    fn processes(&self) -> Vec<Process> {
        vec![Process::new("clock", |_: &_| App::new().service(clock())).replicas(2)]
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let simulation = world.simulation().clone();
        vec![Box::pin(async move {
            simulation.sleep(30 * PERIOD).await;
        })]
    }

    fn span(&self) -> Duration {
        30 * PERIOD
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let ticks = world.entities::<Runs>("clock");
        let mut found = Vec::new();
        for (tick, Runs(runs)) in &ticks {
            if *runs != 1 {
                let detail = format!("{tick}: {runs} runs");
                found.push(Violation::new("one run a planned time", "strike", detail));
            }
        }
        for pair in ticks.windows(2) {
            let gap = time(&pair[1].0).since(time(&pair[0].0));
            if gap != PERIOD {
                let detail = format!("{gap:?} after {}", pair[0].0);
                found.push(Violation::new(
                    "no planned time is missing",
                    "strike",
                    detail,
                ));
            }
        }
        if ticks.is_empty() {
            found.push(Violation::new(
                "no planned time is missing",
                "strike",
                "no run",
            ));
        }
        found
    }
}

fn simulated(seeds: u64) -> Report {
    again::disable();
    Simulator::new()
        .accept_gap("fault delivery_repeated")
        .without_minimization()
        .until_failure()
        .run::<Clock>(1..seeds)
}

#[test]
fn two_replicas_run_each_planned_time_once_under_every_fault() {
    let failures = simulated(100).failures;
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn without_validation_a_planned_time_runs_twice() {
    let guard = "schedules::two_replicas_run_each_planned_time_once_under_every_fault";
    fails_without("schedule-once", guard);
}

/// The planned times of the runs, in seconds after the first.
fn ticks(app: &TestApp) -> Vec<u64> {
    let page = app.run(app.reads("clock").entities::<Runs>(None, 1_000));
    let ids = page
        .expect("the store answers")
        .into_iter()
        .map(|(id, _)| id);
    let ids: Vec<Timestamp> = ids.map(|id| time(&id)).collect();
    ids.iter().map(|id| id.since(ids[0]).as_secs()).collect()
}

fn with(missed: Missed) -> impl Fn() -> App {
    move || {
        let every = Schedule::every(MINUTE).missed(missed);
        App::new().service(Service::new("clock").schedule("strike", every, strike))
    }
}

/// Runs for two minutes, is down for ten, and runs for two again.
fn with_downtime(seed: u64, missed: Missed) -> Vec<u64> {
    let app = with(missed);
    let mut clock = TestApp::start(seed, app());
    clock.pass(2 * MINUTE + SECOND);
    clock.crash(App::new().service(Service::new("other")));
    clock.pass(10 * MINUTE);
    clock.crash(app());
    clock.pass(2 * MINUTE);
    ticks(&clock)
}

#[test]
fn missed_runs_follow_the_policy() {
    for seed in 1..=20 {
        // Runs at 0 and 1 minutes; the times from 2 to 11 minutes are missed.
        let minutes = |missed| -> Vec<u64> {
            let ticks = with_downtime(seed, missed);
            ticks.iter().map(|tick| tick / 60).collect()
        };
        assert_eq!(minutes(Missed::Skip), [0, 1, 12, 13]);
        assert_eq!(minutes(Missed::Once), [0, 1, 2, 12, 13]);
        assert_eq!(minutes(Missed::All), (0..=13).collect::<Vec<_>>());
    }
}

/// Fails on the first two attempts at each planned time.
async fn fails_twice(meta: Meta, runs: Table<Runs>, Now(now): Now) -> Result<()> {
    if now.since(meta.time) < 2 * SECOND {
        return Err(Error::retry("not_yet", "too early"));
    }
    strike(meta, runs).await
}

#[test]
fn a_retryable_failure_is_retried_before_the_next_planned_time() {
    let service = Service::new("clock").every("strike", MINUTE, fails_twice);
    let app = TestApp::start(1, App::new().service(service));
    app.pass(3 * MINUTE);
    assert_eq!(ticks(&app), [0, 60]);
    let status = status(&app);
    assert_eq!(status.failed, None);
    assert!(status.last_at.unwrap().since(status.last.unwrap()) >= 3 * SECOND);
}

async fn refuses(_: Now) -> Result<()> {
    Err(Error::reject("no_paper", "the printer is empty"))
}

async fn panics(_: Now) -> Result<()> {
    panic!("a planned panic")
}

#[test]
fn a_failure_for_good_waits_for_the_next_planned_time_and_is_shown() {
    let of = |service: Service| {
        let app = TestApp::start(1, App::new().service(service));
        app.pass(2 * MINUTE + SECOND);
        let status = status(&app);
        let late = status.last_at.unwrap().since(status.last.unwrap());
        assert!(late < SECOND, "{late:?}");
        assert!(status.next > status.last, "{status:?}");
        status.failed
    };
    let service = || Service::new("clock");
    let refused = of(service().every("strike", MINUTE, refuses));
    assert_eq!(refused.as_deref(), Some("no_paper"));
    let panicked = of(service().every("strike", MINUTE, panics));
    assert_eq!(panicked.as_deref(), Some("panicked"));
}

fn status(app: &TestApp) -> wingbeat::app::ScheduleStatus {
    let running = app.running();
    let all = app.run(running.schedules());
    all.expect("the store answers").remove(0)
}

fn set(app: &TestApp, paused: bool) -> bool {
    let running: &Running = app.running();
    let done = app.run(async {
        if paused {
            running.pause_schedule("clock", "strike").await
        } else {
            running.resume_schedule("clock", "strike").await
        }
    });
    done.expect("the store answers")
}

#[test]
fn a_paused_schedule_waits_over_restarts_and_skips_what_was_planned_meanwhile() {
    let app = with(Missed::All);
    let mut clock = TestApp::start(1, app());
    clock.pass(2 * MINUTE + SECOND);
    assert!(set(&clock, true));
    clock.pass(5 * MINUTE);
    clock.crash(app());
    clock.pass(5 * MINUTE);
    assert_eq!(ticks(&clock), [0, 60]);
    let paused = status(&clock);
    assert!(paused.paused.is_some());
    assert_eq!(paused.next, None);
    assert!(set(&clock, false));
    clock.pass(2 * MINUTE + SECOND);
    assert_eq!(ticks(&clock).len(), 4);
    assert!(status(&clock).next.is_some());
}

#[test]
fn a_schedule_with_other_times_continues_with_the_new_ones() {
    let mut clock = TestApp::start(1, with(Missed::Once)());
    clock.pass(MINUTE + SECOND);
    let hourly = Service::new("clock").every("strike", 60 * MINUTE, strike);
    clock.crash(App::new().service(hourly));
    clock.pass(30 * MINUTE);
    assert_eq!(ticks(&clock), [0]);
    assert_eq!(status(&clock).times, "every 3600s");
    clock.pass(31 * MINUTE);
    assert_eq!(ticks(&clock).len(), 2);
}

#[test]
fn schedules_that_cannot_run_are_findings() {
    let service = Service::new("clock").every("strike", MINUTE, strike).every(
        "strike",
        Duration::ZERO,
        strike,
    );
    let why = App::new().service(service).check().unwrap_err().to_string();
    assert!(
        why.contains("the schedule clock.strike exists twice"),
        "{why}"
    );
    assert!(
        why.contains("the schedule clock.strike has no times"),
        "{why}"
    );
}
