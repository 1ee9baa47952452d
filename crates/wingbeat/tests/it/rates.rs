//! Rates of subscriptions and of calls hold for all replicas together.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::app::RunningSubscription;
use wingbeat::policy::{NewLimits, Policy};
use wingbeat::runtime::Control;
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Outages, Simulation};
use wingbeat::{
    App, Call, Error, Event, GaveUp, Handler as _, JsonSchema, Now, Parts, Rate, Reads, Result,
    Running, Service, State, TargetPolicy, Timestamp, schemars,
};

use crate::found::Nowhere;

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "letters.written", version = 1, key = letter)]
struct Written {
    letter: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "letters.stamped", version = 1, key = letter)]
struct Stamped {
    letter: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "letters.stamp", target = "post", key = letter, outcome = Stamped)]
struct Stamp {
    letter: u32,
}

impl GaveUp<Stamp> for Stamped {
    fn gave_up(call: &Stamp, _: &Error) -> Self {
        let letter = call.letter;
        Stamped { letter }
    }
}

/// The times of all starts, of all replicas.
#[derive(Clone, Default)]
struct Starts(Arc<Mutex<Vec<Timestamp>>>);

/// The state of the services.
#[derive(Clone, Parts)]
struct Shared {
    starts: Starts,
}

impl Starts {
    fn note(&self, at: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(at);
    }

    fn len(&self) -> usize {
        self.0.lock().expect("no test thread panicked").len()
    }

    /// Returns the largest number of starts within a second.
    fn most_a_second(&self) -> usize {
        let mut all = self.0.lock().expect("no test thread panicked").clone();
        all.sort();
        let until = |from: &Timestamp| *from + Duration::from_secs(1);
        let within = |(place, from): (usize, &Timestamp)| {
            all[place..].iter().filter(|at| **at < until(from)).count()
        };
        all.iter().enumerate().map(within).max().unwrap_or(0)
    }
}

async fn read(_: Written, Now(now): Now, State(starts): State<Starts>) -> Result<()> {
    starts.note(now);
    Ok(())
}

async fn written(event: Written) -> Result<Stamp> {
    let letter = event.letter;
    Ok(Stamp { letter })
}

async fn stamp(call: Stamp, reads: Reads, State(starts): State<Starts>) -> Result<Stamped> {
    starts.note(reads.runtime().now());
    let letter = call.letter;
    Ok(Stamped { letter })
}

/// Takes a second, so that as many start in a second as run at the same time.
async fn pore(_: Written, reads: Reads, Now(now): Now, State(starts): State<Starts>) -> Result<()> {
    starts.note(now);
    let second = Duration::from_secs(1);
    reads.runtime().sleep(second).await;
    Ok(())
}

struct Scene {
    world: Simulation,
    model: Model,
    starts: Starts,
    replicas: Vec<(Running, Arc<Group>)>,
}

impl Scene {
    fn start(app: impl Fn(Starts) -> App) -> Self {
        let world = Simulation::new(1);
        let model = Model::new(world.runtime());
        let mut scene = Self {
            world,
            model,
            starts: Starts::default(),
            replicas: Vec::new(),
        };
        scene.restart(app);
        scene
    }

    /// Kills both replicas and starts others.
    fn restart(&mut self, app: impl Fn(Starts) -> App) {
        self.replicas.clear();
        for _ in 0..2 {
            let process = self.world.group();
            let ports = self.model.ports(&process, Arc::new(Nowhere));
            let running = self.world.run(app(self.starts.clone()).start(ports));
            let running = running.expect("it starts");
            self.replicas.push((running, process));
        }
    }

    /// Limits the subscription over one of the replicas.
    fn limit(
        &self,
        replica: usize,
        concurrency: Option<usize>,
        rate: Option<Rate>,
    ) -> Result<bool> {
        let (running, _) = &self.replicas[replica];
        let limits = NewLimits {
            concurrency,
            rate,
            ..NewLimits::default()
        };
        let limited = running.limit("readers", "written", limits);
        self.world.run(limited)
    }

    fn limits(&self, replica: usize) -> (usize, Option<Rate>) {
        let limits = self.replicas[replica].0.subscriptions[0].limits();
        (limits.concurrency, limits.rate)
    }

    fn write(&self, letters: u32) {
        self.write_more(0, letters);
    }

    fn write_more(&self, first: u32, letters: u32) {
        for letter in first..first + letters {
            let story = Uuid::from_u128(letter.into()).into();
            self.world
                .run(self.model.publish(story, &Written { letter }));
        }
    }

    fn pass(&self, seconds: u64) {
        self.world.advance(Duration::from_secs(seconds));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.replicas.clear();
        self.world.end();
    }
}

fn readers(rate: Option<Rate>) -> impl Fn(Starts) -> App {
    move |starts| {
        let service = Service::new("readers").with_state(Shared { starts });
        let service = match rate {
            Some(rate) => service.on(read.at_most(rate)),
            None => service.on(read),
        };
        App::new().service(service).allow_unknown_owners()
    }
}

#[test]
fn both_replicas_together_keep_to_the_rate_of_a_subscription() {
    for (rate, expected) in [(Some(Rate::per_second(20)), true), (None, false)] {
        let scene = Scene::start(readers(rate));
        scene.write(200);
        scene.pass(8);
        // One window more may fit into a second; the control shows that nothing else slows them.
        let most = scene.starts.most_a_second();
        assert_eq!(most <= 22, expected, "{most} starts in a second");
        if expected {
            let done = scene.starts.len();
            assert!((100..=170).contains(&done), "{done} after eight seconds");
        }
        scene.pass(8);
        assert_eq!(scene.starts.len(), 200, "each is handled once");
    }
}

#[test]
fn a_changed_rate_reaches_both_replicas_and_outlives_a_restart() {
    let mut scene = Scene::start(readers(None));
    let rate = Some(Rate::per_second(20));
    assert!(scene.limit(0, None, rate).expect("it is stored"));
    assert_eq!(scene.limits(0), (64, rate), "at once");
    scene.pass(2);
    assert_eq!(scene.limits(1), (64, rate));
    scene.write(100);
    scene.pass(3);
    scene.restart(readers(None));
    assert_eq!((scene.limits(0), scene.limits(1)), ((64, rate), (64, rate)));
    scene.pass(5);
    let most = scene.starts.most_a_second();
    assert!(most <= 22, "{most} starts in a second");
    scene.pass(10);
    let slow = scene.starts.len();
    assert!(slow >= 100, "each is handled, a killed one again: {slow}");
    // Without a limit, as in the code.
    assert!(scene.limit(1, None, None).expect("it is stored"));
    scene.pass(2);
    assert_eq!((scene.limits(0), scene.limits(1)), ((64, None), (64, None)));
    scene.write_more(1_000, 200);
    scene.pass(2);
    assert_eq!(scene.starts.len(), slow + 200);
}

#[test]
fn a_changed_concurrency_holds_in_each_replica() {
    let scene = Scene::start(|starts| {
        let service = Service::new("readers").with_state(Shared { starts });
        let service = service.on(pore.concurrency(20));
        App::new().service(service).allow_unknown_owners()
    });
    assert!(scene.limit(0, Some(3), None).expect("it is stored"));
    scene.pass(2);
    assert_eq!(scene.limits(1), (3, None));
    // More than one replica prefetches.
    scene.write(700);
    scene.pass(5);
    let slow = scene.starts.len();
    assert!((24..=36).contains(&slow), "{slow} with three at once");
    assert!(scene.limit(1, Some(700), None).expect("it is stored"));
    scene.pass(10);
    assert_eq!(scene.starts.len(), 700);
}

/// Takes a second for each message, in `partitions` partitions.
fn slow_readers(partitions: u32, rate: Option<Rate>) -> impl Fn(Starts) -> App {
    move |starts| {
        let service = Service::new("readers").with_state(Shared { starts });
        let pore = pore.partitioned(partitions).concurrency(20);
        let service = match rate {
            Some(rate) => service.on(pore.at_most(rate)),
            None => service.on(pore),
        };
        App::new().service(service).allow_unknown_owners()
    }
}

#[test]
fn a_changed_concurrency_holds_over_all_partitions_of_a_process() {
    // One replica handles the only partition; both share four.
    for (partitions, expected) in [(1, 10..=18), (4, 20..=36)] {
        let scene = Scene::start(slow_readers(partitions, None));
        scene.pass(10);
        assert!(scene.limit(0, Some(3), None).expect("it is stored"));
        scene.pass(2);
        for (running, _) in &scene.replicas {
            let limits = running
                .subscriptions
                .iter()
                .map(|it| it.limits().concurrency);
            assert_eq!(limits.collect::<Vec<_>>(), vec![3; partitions as usize + 1]);
        }
        scene.write(200);
        scene.pass(5);
        let slow = scene.starts.len();
        assert!(
            expected.contains(&slow),
            "{slow} in {partitions} partitions"
        );
        assert!(scene.limit(1, Some(20), None).expect("it is stored"));
        scene.pass(20);
        assert_eq!(scene.starts.len(), 200, "in {partitions} partitions");
    }
}

#[test]
fn every_partition_gets_its_turn_where_few_handlers_run() {
    let scene = Scene::start(slow_readers(4, None));
    scene.pass(10);
    assert!(scene.limit(0, Some(1), None).expect("it is stored"));
    scene.pass(2);
    scene.write(120);
    scene.pass(2);
    let waiting = |(running, _): &(Running, _)| -> Vec<u64> {
        let subscriptions = running.subscriptions.iter();
        let here = subscriptions.filter(|it| it.partition_of.is_some());
        let here = here.filter(|it| it.control() == Control::Running);
        let waiting = |it: &RunningSubscription| it.stats.in_flight.load(Ordering::Relaxed);
        here.map(waiting).collect()
    };
    let before: Vec<_> = scene.replicas.iter().map(waiting).collect();
    scene.pass(12);
    let after = scene.replicas.iter().map(waiting);
    for (before, after) in before.iter().zip(after) {
        let handled: Vec<_> = before
            .iter()
            .zip(after)
            .map(|(it, left)| it - left)
            .collect();
        assert_eq!(handled.len(), 2, "of four partitions");
        assert!(handled.iter().all(|it| (5..=7).contains(it)), "{handled:?}");
    }
}

#[test]
fn all_partitions_together_keep_to_the_rate_with_and_without_the_cache() {
    for partitions in [1, 4] {
        let scene = Scene::start(slow_readers(partitions, None));
        scene.pass(10);
        let rate = Some(Rate::per_second(10));
        assert!(scene.limit(0, None, rate).expect("it is stored"));
        scene.pass(2);
        scene.write(200);
        scene.pass(8);
        let (most, done) = (scene.starts.most_a_second(), scene.starts.len());
        assert!(most <= 11, "{most} starts in a second");
        assert!((40..=90).contains(&done), "{done} after eight seconds");
        // Each replica alone: twice the rate if both have work.
        scene.model.set_outages(Outages {
            cache: true,
            ..Outages::default()
        });
        scene.pass(4);
        let most = scene.starts.most_a_second();
        assert!(most <= 22, "{most} starts in a second");
        scene.model.set_outages(Outages::default());
        scene.pass(20);
        assert_eq!(scene.starts.len(), 200, "in {partitions} partitions");
    }
}

#[test]
fn messages_that_were_prefetched_before_a_rate_was_set_wait_no_longer_than_a_minute_of_it() {
    let scene = Scene::start(readers(Some(Rate::per_minute(600))));
    scene.write(600);
    scene.pass(2);
    assert!(
        scene
            .limit(0, None, Some(Rate::per_minute(6)))
            .expect("it is stored")
    );
    scene.pass(2);
    let before = scene.starts.len();
    let held = |(running, _): &(Running, _)| {
        let stats = &running.subscriptions[0].stats;
        stats.in_flight.load(Ordering::Relaxed)
    };
    let held: u64 = scene.replicas.iter().map(held).sum();
    assert!(held <= 2 * 6, "{held} deliveries are held");
    scene.pass(60);
    let done = scene.starts.len() - before;
    assert!((4..=8).contains(&done), "{done} in a minute");
}

#[test]
fn limits_out_of_range_are_refused_and_change_nothing() {
    let scene = Scene::start(readers(None));
    let low = Rate {
        starts: 1,
        per: Duration::from_secs(61),
    };
    for (concurrency, rate) in [(Some(0), None), (Some(10_001), None), (None, Some(low))] {
        let refused = scene
            .limit(0, concurrency, rate)
            .expect_err("it is refused");
        assert_eq!(refused.code(), "limit_invalid");
    }
    assert_eq!(scene.limits(0), (64, None));
    let (running, _) = &scene.replicas[0];
    let unknown = running.limit("readers", "unknown", NewLimits::default());
    assert!(!scene.world.run(unknown).expect("nothing is stored"));
}

#[test]
fn each_replica_keeps_to_the_rate_alone_while_the_cache_is_unavailable() {
    // A prefetch of 60, so that both replicas have work.
    let scene = Scene::start(readers(Some(Rate::per_minute(60))));
    scene.model.set_outages(Outages {
        cache: true,
        ..Outages::default()
    });
    scene.write(200);
    scene.pass(30);
    let done = scene.starts.len();
    assert!((45..=74).contains(&done), "{done} in half a minute");
    scene.model.set_outages(Outages::default());
    scene.pass(240);
    assert_eq!(scene.starts.len(), 200);
}

#[test]
fn messages_that_wait_for_their_turn_delay_neither_a_drain_nor_other_replicas() {
    let mut scene = Scene::start(readers(Some(Rate::per_minute(60))));
    scene.write(100);
    scene.pass(2);
    let (first, _) = &scene.replicas[0];
    let drained = async {
        let limit = Duration::from_secs(2);
        let runtime = scene.world.runtime();
        wingbeat::RuntimeExt::timeout(&*runtime, limit, first.drain()).await
    };
    assert!(scene.world.run(drained).is_some(), "it is drained at once");
    drop(scene.replicas.remove(0));
    scene.pass(120);
    assert_eq!(scene.starts.len(), 100, "the other one handles the rest");
}

#[test]
fn a_rate_lowers_the_prefetch_to_a_minute_of_work() {
    let prefetch = |rate| {
        let service = Service::new("readers").with_state(Shared {
            starts: Starts::default(),
        });
        let app = App::new().service(service.on(read.at_most(rate)));
        app.allow_unknown_owners().findings()
    };
    assert!(prefetch(Rate::per_minute(1)).is_empty());
    let low = Rate {
        starts: 1,
        per: Duration::from_secs(61),
    };
    let findings = prefetch(low);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].code, "rate_too_low");
    let policy: Policy = read.at_most(Rate::per_second(1)).policy();
    assert_eq!(policy.rate, Some(Rate::per_second(1)));
}

/// A service whose calls take no time.
fn callers(policy: TargetPolicy) -> impl Fn(Starts) -> App {
    move |starts| {
        let letters = Service::new("letters").with_state(Shared { starts });
        let letters = letters.on(written).calls(stamp);
        App::new()
            .service(letters.target("post", policy.clone()))
            .allow_unknown_owners()
    }
}

/// A service whose calls take a second.
fn slow_callers(starts: Starts) -> App {
    let letters = Service::new("letters").with_state(Shared { starts });
    let letters = letters.on(written).calls(stamp_slowly);
    App::new()
        .service(letters.target("post", TargetPolicy::default()))
        .allow_unknown_owners()
}

async fn stamp_slowly(call: Stamp, reads: Reads, State(starts): State<Starts>) -> Result<Stamped> {
    starts.note(reads.runtime().now());
    reads.runtime().sleep(Duration::from_secs(1)).await;
    let letter = call.letter;
    Ok(Stamped { letter })
}

impl Scene {
    fn limit_target(&self, replica: usize, limits: NewLimits) -> Result<bool> {
        let (running, _) = &self.replicas[replica];
        let limited = running.limit_target("letters", "post", limits);
        self.world.run(limited)
    }

    fn target_limits(&self, replica: usize) -> (usize, Option<Rate>) {
        let limits = self.replicas[replica].0.targets[0].limits();
        (limits.concurrency, limits.rate)
    }
}

#[test]
fn a_changed_rate_of_a_target_reaches_both_replicas_and_outlives_a_restart() {
    let app = callers(TargetPolicy::default());
    let mut scene = Scene::start(&app);
    let rate = Some(Rate::per_second(10));
    let limits = NewLimits {
        rate,
        ..NewLimits::default()
    };
    assert!(scene.limit_target(0, limits).expect("it is stored"));
    assert_eq!(scene.target_limits(0), (256, rate), "at once");
    scene.pass(2);
    assert_eq!(scene.target_limits(1), (256, rate));
    scene.restart(&app);
    assert_eq!([0, 1].map(|it| scene.target_limits(it)), [(256, rate); 2]);
    scene.write(150);
    scene.pass(10);
    let most = scene.starts.most_a_second();
    assert!(most <= 11, "{most} attempts in a second");
    // Calls that wait for the rate return to the store within seconds.
    let none = NewLimits::default();
    assert!(scene.limit_target(1, none).expect("it is stored"));
    scene.pass(10);
    assert_eq!(scene.starts.len(), 150, "each is attempted once");
    assert_eq!([0, 1].map(|it| scene.target_limits(it)), [(256, None); 2]);
}

#[test]
fn a_changed_concurrency_of_a_target_holds_in_each_replica() {
    let scene = Scene::start(slow_callers);
    let limits = |concurrency| NewLimits {
        concurrency,
        ..NewLimits::default()
    };
    assert!(
        scene
            .limit_target(0, limits(Some(3)))
            .expect("it is stored")
    );
    scene.pass(2);
    assert_eq!(scene.target_limits(1), (3, None));
    scene.write(100);
    scene.pass(5);
    let most = scene.starts.most_a_second();
    assert!(most <= 6, "{most} attempts in a second");
    assert!(scene.limit_target(0, limits(None)).expect("it is stored"));
    scene.pass(40);
    assert_eq!(scene.starts.len(), 100);

    let refused = scene.limit_target(0, limits(Some(0)));
    assert_eq!(refused.expect_err("it is refused").code(), "limit_invalid");
    let (running, _) = &scene.replicas[0];
    let unknown = running.limit_target("letters", "fax", limits(Some(1)));
    assert!(!scene.world.run(unknown).expect("nothing is stored"));
}

/// The times are those of the attempts; the outcome of each call is one event.
#[test]
fn both_replicas_together_keep_to_the_rate_of_a_target() {
    for (rate, expected) in [(Some(Rate::per_second(10)), true), (None, false)] {
        let scene = Scene::start(callers(TargetPolicy {
            rate,
            ..TargetPolicy::default()
        }));
        scene.write(150);
        scene.pass(10);
        let most = scene.starts.most_a_second();
        assert_eq!(most <= 11, expected, "{most} attempts in a second");
        scene.pass(120);
        assert_eq!(scene.starts.len(), 150, "each is attempted once");
    }
}
