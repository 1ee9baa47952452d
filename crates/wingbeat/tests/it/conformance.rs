//! The contract tests of the ports, on the model and the seeded executor.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Bodies, Cache, Store as _, Unit, conformance};

/// The number of seeds for each test. With every other one, commits are lost and operations are
/// slow.
const SEEDS: u64 = 6;

pub(crate) struct InModel {
    pub(crate) simulation: Simulation,
    pub(crate) model: Model,
}

impl InModel {
    pub(crate) fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        let model = Model::new(simulation.runtime());
        if !seed.is_multiple_of(2) {
            model.set_faults(Faults {
                commit_unknown: 300,
                delay: Duration::from_millis(5),
                ..Faults::default()
            });
        }
        Self { simulation, model }
    }
}

impl Fixture for InModel {
    fn open(&self) -> BoxFuture<'_, Opened> {
        self.model.restart();
        let (store, transport) = (self.model.store.clone(), self.model.transport.clone());
        Box::pin(async { Opened { store, transport } })
    }

    fn runtime(&self) -> SharedRuntime {
        self.simulation.runtime()
    }

    fn poison(&self, mut unit: Unit) -> Option<Unit> {
        unit.writes[0].key.id.push('\0');
        Some(unit)
    }
}

impl conformance::cache::Fixture for InModel {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        self.model.restart();
        let cache: Arc<dyn Cache> = self.model.cache.clone();
        Box::pin(async { cache })
    }

    fn runtime(&self) -> SharedRuntime {
        self.simulation.runtime()
    }
}

impl conformance::bodies::Fixture for InModel {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>> {
        let bodies = self.model.store.bodies();
        Box::pin(std::future::ready(bodies.expect("the model has them")))
    }
}

pub(crate) fn run(test: Test) {
    for seed in 0..SEEDS {
        let fixture = Arc::new(InModel::new(seed));
        let world = fixture.simulation.clone();
        world.run(test(fixture));
        world.end();
    }
}

fn run_cache(test: conformance::cache::Test) {
    for seed in 0..SEEDS {
        let fixture = Arc::new(InModel::new(seed));
        let world = fixture.simulation.clone();
        world.run(test(fixture));
        world.end();
    }
}

fn run_bodies(test: conformance::bodies::Test) {
    for seed in 0..2 {
        let fixture = Arc::new(InModel::new(seed));
        let world = fixture.simulation.clone();
        world.run(test(fixture));
        world.end();
    }
}

mod store {
    wingbeat_core::store_conformance!(super::run);
}

mod transport {
    wingbeat_core::transport_conformance!(super::run);
}

mod cached {
    wingbeat_core::cache_conformance!(super::run_cache);
}

mod bodies {
    wingbeat_core::bodies_conformance!(super::run_bodies);
}

mod allotments {
    wingbeat_core::allotment_conformance!(super::run_cache);
}
