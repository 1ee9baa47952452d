//! An outage of the server, which the suite cannot cause.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::cache::Durability::Volatile;
use wingbeat_core::conformance::RealTime;
use wingbeat_core::{Cache, Class};

use crate::cache::{Server, TinyCache};
use crate::conformance::block_on;

#[test]
fn calls_fail_during_an_outage_and_succeed_afterwards() {
    block_on(async {
        let server = Arc::new(Server::default());
        let cache = TinyCache::connect(Arc::clone(&server), RealTime::shared());
        let minute = Duration::from_secs(60);
        server.with(|state| state.unavailable = true);
        let error = cache.put("a", "1".into(), minute, Volatile).await;
        let error = error.expect_err("the server is unavailable");
        assert_eq!(
            (error.code(), error.class()),
            ("cache_unavailable", Class::Retry)
        );
        assert!(cache.ping().await.is_err());
        server.with(|state| state.unavailable = false);
        let put = cache.put("a", "1".into(), minute, Volatile).await;
        put.expect("the server is available again");
        cache.ping().await.expect("the server is available again");
    });
}
