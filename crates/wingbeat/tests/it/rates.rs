//! Rates of subscriptions and of calls hold for all replicas together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::policy::Policy;
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
        let starts = Starts::default();
        let replica = |_| {
            let process = world.group();
            let ports = model.ports(&process, Arc::new(Nowhere));
            let running = world.run(app(starts.clone()).start(ports));
            (running.expect("it starts"), process)
        };
        let replicas = (0..2).map(replica).collect();
        Self {
            world,
            model,
            starts,
            replicas,
        }
    }

    fn write(&self, letters: u32) {
        for letter in 0..letters {
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

/// The times are those of the attempts; the outcome of each call is one event.
#[test]
fn both_replicas_together_keep_to_the_rate_of_a_target() {
    for (rate, expected) in [(Some(Rate::per_second(10)), true), (None, false)] {
        let scene = Scene::start(|starts| {
            let policy = TargetPolicy {
                rate,
                ..TargetPolicy::default()
            };
            let letters = Service::new("letters").with_state(Shared { starts });
            let letters = letters.on(written).calls(stamp);
            App::new()
                .service(letters.target("post", policy))
                .allow_unknown_owners()
        });
        scene.write(150);
        scene.pass(10);
        let most = scene.starts.most_a_second();
        assert_eq!(most <= 11, expected, "{most} attempts in a second");
        scene.pass(120);
        assert_eq!(scene.starts.len(), 150, "each is attempted once");
    }
}
