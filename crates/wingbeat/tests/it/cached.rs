//! Cached reads: concurrent callers share one load, and an unavailable cache is no failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use wingbeat::ServiceContext;
use wingbeat::test::{Outages, TestApp};
use wingbeat::{App, Cached, Error, Result, Service};

const TTL: Duration = Duration::from_secs(60);
/// The duration of a load.
const LOAD: Duration = Duration::from_millis(20);

struct World {
    app: TestApp,
    service: Arc<ServiceContext>,
    cached: Cached,
    loaded: AtomicU32,
}

impl World {
    fn new() -> Self {
        let app = TestApp::start(1, App::new().service(Service::new("catalog")));
        Self {
            service: app.service("catalog"),
            app,
            cached: Cached::new("product:", TTL),
            loaded: AtomicU32::new(0),
        }
    }

    /// Loads a value slowly: the number of loads so far.
    async fn load(&self) -> Result<Option<u32>> {
        self.service.runtime().sleep(LOAD).await;
        Ok(Some(self.loaded.fetch_add(1, Ordering::SeqCst) + 1))
    }

    async fn get(&self, key: &str) -> Option<u32> {
        let got = self.cached.get(&self.service, key, || self.load()).await;
        got.expect("the store reads")
    }

    /// Gets a key `count` times concurrently.
    fn get_at_once(&self, key: &str, count: usize) -> Vec<Option<u32>> {
        let gets = (0..count).map(|_| self.get(key));
        self.app.run(join_all(gets))
    }

    fn loaded(&self) -> u32 {
        self.loaded.load(Ordering::SeqCst)
    }

    fn set_cache_unavailable(&self, cache: bool) {
        self.app.set_outages(Outages {
            cache,
            ..Outages::default()
        });
    }
}

#[test]
fn concurrent_reads_of_a_key_load_it_once() {
    let world = World::new();
    assert_eq!(world.get_at_once("kettle", 50), vec![Some(1); 50]);
    assert_eq!(world.loaded(), 1);
    assert_eq!(world.get_at_once("kite", 50), vec![Some(2); 50]);
    assert_eq!(world.loaded(), 2, "each key is loaded separately");
}

#[test]
fn without_the_cache_every_read_loads_from_the_store() {
    let world = World::new();
    assert_eq!(world.get_at_once("kettle", 1), [Some(1)]);
    world.set_cache_unavailable(true);
    let began = world.service.runtime().elapsed();
    let got = world.get_at_once("kettle", 50);
    let took = world.service.runtime().elapsed() - began;
    assert!(got.iter().all(Option::is_some));
    assert!(
        took < 10 * LOAD,
        "callers do not wait for each other: {took:?}"
    );
    assert_eq!(world.loaded(), 51);
    world
        .app
        .run(world.cached.invalidate(&world.service, "kettle")); // Fails without an error for the caller.
    world.set_cache_unavailable(false);
    assert_eq!(
        world.get_at_once("kettle", 1),
        [Some(1)],
        "cached until it expires"
    );
}

#[test]
fn a_forgotten_value_is_loaded_once() {
    let world = World::new();
    world.get_at_once("kettle", 1);
    world.get_at_once("kite", 1);
    world
        .app
        .run(world.cached.invalidate(&world.service, "kettle"));
    assert_eq!(world.get_at_once("kettle", 50), vec![Some(3); 50]);
    assert_eq!(world.get_at_once("kite", 1), [Some(2)], "the others stay");
    world.app.run(world.cached.invalidate_all(&world.service));
    assert_eq!(world.get_at_once("kite", 1), [Some(4)]);
    world.app.pass(TTL);
    assert_eq!(world.get_at_once("kite", 50), vec![Some(5); 50], "expired");
    assert_eq!(world.loaded(), 5);
}

/// A failed load is neither cached nor returned to other callers.
#[test]
fn a_failed_load_is_retried_by_the_next_caller() {
    let world = World::new();
    let load = async || -> Result<Option<u32>> {
        match world.load().await? {
            Some(1) => Err(Error::retry(
                "store_unavailable",
                "the store is unavailable",
            )),
            loaded => Ok(loaded),
        }
    };
    let get = || world.cached.get(&world.service, "kettle", load);
    let got = world.app.run(join_all((0..50).map(|_| get())));
    assert_eq!(got.iter().filter(|got| got.is_err()).count(), 1);
    assert_eq!(world.loaded(), 2);
}

/// The load has read the old value, and the event that changes it comes before the value is cached.
#[test]
fn a_load_during_an_invalidation_is_not_cached() {
    let world = World::new();
    let overtaken = async || {
        let old = world.load().await;
        world.cached.invalidate(&world.service, "kettle").await;
        old
    };
    let get = world.cached.get(&world.service, "kettle", overtaken);
    assert_eq!(world.app.run(get).unwrap(), Some(1));
    assert_eq!(
        world.get_at_once("kettle", 1),
        [Some(2)],
        "it is loaded again"
    );
    assert_eq!(world.get_at_once("kettle", 1), [Some(2)], "and cached");
    let all = async || {
        let old = world.load().await;
        world.cached.invalidate_all(&world.service).await;
        old
    };
    let get = world.cached.get(&world.service, "kite", all);
    assert_eq!(world.app.run(get).unwrap(), Some(3));
    assert_eq!(world.get_at_once("kite", 1), [Some(4)]);
}
