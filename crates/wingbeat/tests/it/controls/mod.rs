//! Negative controls of the contract tests: each test detects an adapter that breaks its promise.

mod broken_allotments;
mod broken_bodies;
mod broken_cache;
mod broken_store;
mod broken_transport;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Store, Transport};

use crate::conformance::InModel;

/// A model with a broken adapter.
struct Broken {
    inner: InModel,
    store: fn(Arc<dyn Store>) -> Arc<dyn Store>,
    transport: fn(Arc<dyn Transport>) -> Arc<dyn Transport>,
}

impl Fixture for Broken {
    fn open(&self) -> BoxFuture<'_, Opened> {
        Box::pin(async {
            let Opened { store, transport } = Fixture::open(&self.inner).await;
            Opened {
                store: (self.store)(store),
                transport: (self.transport)(transport),
            }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        Fixture::runtime(&self.inner)
    }
}

fn run(fixture: Broken, test: Test) {
    let world = fixture.inner.simulation.clone();
    world.run(test(Arc::new(fixture)));
}

fn with_store(store: fn(Arc<dyn Store>) -> Arc<dyn Store>, test: Test) {
    let (inner, transport) = (InModel::new(0), std::convert::identity as _);
    run(
        Broken {
            inner,
            store,
            transport,
        },
        test,
    );
}

fn with_transport(transport: fn(Arc<dyn Transport>) -> Arc<dyn Transport>, test: Test) {
    let (inner, store) = (InModel::new(0), std::convert::identity as _);
    run(
        Broken {
            inner,
            store,
            transport,
        },
        test,
    );
}
