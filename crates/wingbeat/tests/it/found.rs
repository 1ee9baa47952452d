//! Regression tests for faults that the simulation has found.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::test::{Faults, Model, Simulation, TestApp};
use wingbeat::{
    App, Entity, Event, JsonSchema, Result, Saga, SagaEffects, SagaInput, Service, Table,
    Unexpected, outgoing, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Reading {
    times: u32,
}

impl Entity for Reading {
    const NAME: &'static str = "reading";
    type Id = String;
}

async fn count(event: MeterRead, readings: Table<Reading>) -> Result<()> {
    let counted = readings.update(&event.meter, |known| Reading {
        times: known.unwrap_or_default().times + 1,
    });
    counted.await.map(drop)
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.due", version = 1, key = meter)]
struct Due {
    meter: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.rang", version = 1, key = meter)]
struct Rang {
    meter: String,
}

#[derive(SagaInput)]
enum Input {
    #[saga(start)]
    Read(MeterRead),
    #[saga(timer)]
    Due(Due),
}

#[derive(Default, Serialize, Deserialize)]
struct Watch {
    rang: bool,
}

impl Saga for Watch {
    const NAME: &'static str = "watch";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
        match input {
            Input::Read(MeterRead { meter }) => {
                effects.after(Duration::from_secs(30), &Due { meter });
            }
            Input::Due(Due { meter }) => {
                self.rang = true;
                effects.publish(&Rang { meter }).end();
            }
        }
    }

    fn unexpected(
        &mut self,
        _reason: Unexpected,
        _input: Input,
        _effects: &mut SagaEffects<Input>,
    ) {
    }
}

/// Seed 1 of the shop: a timer came due while the store was unavailable. It failed its quick
/// attempts, could not be parked, and became a dead letter at once. The parcel was never delivered.
#[test]
fn work_that_cannot_be_parked_is_retried() {
    let app = App::new().service(Service::new("meters").saga::<Watch>());
    let app = TestApp::start(1, app);
    let story = uuid::Uuid::from_u128(1);
    let meter = "a".to_owned();
    app.publish(story, &MeterRead { meter });
    app.pass(Duration::from_millis(29_990));
    app.set_faults(Faults {
        store_unavailable: 700,
        ..Faults::default()
    });
    app.pass(Duration::from_secs(20));
    app.set_faults(Faults::default());
    app.until_idle();
    assert_eq!(app.dead_letters("meters"), 0);
    assert_eq!(app.published("meters", story), ["meter.rang.v1"]);
}

/// An HTTP client whose requests are never answered.
pub(crate) struct Nowhere;

impl wingbeat::ports::HttpClient for Nowhere {
    fn send(
        &self,
        _request: outgoing::Request,
    ) -> wingbeat::BoxFuture<'_, Result<outgoing::Response>> {
        Box::pin(std::future::pending())
    }
}

fn ports(simulation: &Simulation, model: &Model, skew_ms: i64) -> Ports {
    model.ports(&simulation.skewed_group(skew_ms), Arc::new(Nowhere))
}

/// Seed 15 of the shop: a process whose clock was ahead of the store's claimed due records every
/// millisecond, because they were due by its own clock.
#[test]
fn a_clock_that_is_ahead_does_not_poll_the_store() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let app = App::new().service(Service::new("meters").saga::<Watch>());
    let started = app
        .allow_unknown_owners()
        .start(ports(&simulation, &model, 20_000));
    let running = simulation.run(started).expect("starts");
    let meter = "a".to_owned();
    simulation.run(crate::transfers::publish(
        &simulation,
        &model,
        &MeterRead { meter },
    ));
    simulation.advance(Duration::from_secs(5));
    let before = simulation.polls();
    // For 20 s the timer is due by the process's clock only.
    simulation.advance(Duration::from_secs(30));
    let polls = simulation.polls() - before;
    assert!(polls < 1_000, "{polls} polls in 30 s");
    drop(running);
    simulation.end();
}

/// Seed 15 of the shop: after an app was dropped, one of its tasks kept spinning.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a task that spins never gives its thread back"
)]
fn the_tasks_of_a_dropped_app_end() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let simulation = Simulation::new(1);
        let model = Model::new(simulation.runtime());
        let app = App::new().service(Service::new("meters").on(count));
        let running = simulation.run(app.allow_unknown_owners().start(ports(
            &simulation,
            &model,
            0,
        )));
        drop(running.expect("starts"));
        simulation.advance(Duration::from_secs(60));
        simulation.end();
        let _ = done.send(()); // An error means that the test has failed already.
    });
    let rests = ended.recv_timeout(Duration::from_secs(20));
    assert!(rests.is_ok(), "a task spins");
}

/// The ports of a killed process do not reach the model that its successor uses.
#[test]
fn the_ports_of_a_killed_process_never_answer() {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let process = simulation.group();
    let dead = model.ports(&process, Arc::new(Nowhere));
    process.kill();
    let asked = async {
        let answer = dead.cache.hit("a", Duration::from_secs(60));
        let waited = wingbeat::RuntimeExt::timeout(&simulation, Duration::from_secs(60), answer);
        waited.await
    };
    assert!(simulation.run(asked).is_none());
    let hits = simulation.run(wingbeat::ports::Cache::hit(
        &*model.cache,
        "a",
        Duration::from_secs(60),
    ));
    assert_eq!(hits.expect("the cache answers"), 1);
}

#[wingbeat::test(seeds = 3)]
async fn a_test_runs_with_each_of_its_seeds(world: Simulation) {
    use wingbeat::Runtime as _;
    world.sleep(Duration::from_secs(1)).await;
    assert_eq!(world.elapsed(), Duration::from_secs(1));
}
