//! What every [`Cache`] must do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Cache;
use crate::cache::Durability::{Restart, Volatile};
use crate::runtime::SharedRuntime;

/// One test of the cache suite.
pub type Test = fn(Arc<dyn Fixture>) -> BoxFuture<'static, ()>;

/// What an adapter brings to be tested. One fixture serves one test.
pub trait Fixture: Send + Sync {
    /// Opens the fixture's cache: empty the first time; later, with what survives a restart. Before
    /// opening again, the test drops what it was given.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>>;
    /// Time for the test itself.
    fn runtime(&self) -> SharedRuntime;
}

/// Makes a `#[test]` of each test of the cache suite; `$run` is a `fn(Test)` that brings the fixture.
#[macro_export]
macro_rules! cache_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::cache::conformance,
            [
                a_value_is_kept_until_it_expires,
                the_last_value_counts,
                a_removed_value_is_gone,
                a_prefix_is_removed_and_nothing_else,
                empty_and_large_values_come_back,
                sessions_survive_a_restart,
                removed_sessions_stay_removed_over_a_restart,
                hits_are_counted_within_their_window,
                a_window_does_not_grow_with_its_hits,
                hits_at_once_are_all_counted,
            ]
        );
    };
}

const LONG: Duration = Duration::from_secs(600);
/// A time to live that a test can outlive, and not by accident.
const SHORT: Duration = Duration::from_secs(4);
const PAST_SHORT: Duration = Duration::from_millis(4500);

async fn get(cache: &Arc<dyn Cache>, key: &str) -> Option<Bytes> {
    cache.get(key).await.expect("the cache answers")
}

async fn put(cache: &Arc<dyn Cache>, key: &str, value: &'static str, ttl: Duration) {
    cache
        .put(key, value.into(), ttl, Volatile)
        .await
        .expect("the cache takes it");
}

async fn hit(cache: &Arc<dyn Cache>, key: &str, window: Duration) -> u64 {
    cache.hit(key, window).await.expect("the cache counts")
}

pub async fn a_value_is_kept_until_it_expires(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    assert_eq!(get(&cache, "a").await, None);
    put(&cache, "a", "1", SHORT).await;
    put(&cache, "b", "2", LONG).await;
    cache
        .put("c", "3".into(), SHORT, Restart)
        .await
        .expect("the cache takes it");
    assert_eq!(get(&cache, "a").await, Some("1".into()));
    assert_eq!(get(&cache, "c").await, Some("3".into()));
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        (get(&cache, "a").await, get(&cache, "c").await),
        (None, None)
    );
    assert_eq!(get(&cache, "b").await, Some("2".into()));
}

pub async fn the_last_value_counts(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    put(&cache, "a", "1", SHORT).await;
    put(&cache, "a", "2", LONG).await;
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        get(&cache, "a").await,
        Some("2".into()),
        "with its own time to live"
    );
    cache
        .put("a", "3".into(), LONG, Restart)
        .await
        .expect("the cache takes it");
    assert_eq!(
        get(&cache, "a").await,
        Some("3".into()),
        "whatever its durability"
    );
    put(&cache, "a", "4", LONG).await;
    assert_eq!(get(&cache, "a").await, Some("4".into()));
}

pub async fn a_removed_value_is_gone(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for keep in [Volatile, Restart] {
        cache
            .put("a", "1".into(), LONG, keep)
            .await
            .expect("the cache takes it");
        cache.remove("a").await.expect("removes");
        assert_eq!(get(&cache, "a").await, None);
    }
    cache.remove("never").await.expect("nothing to do");
}

pub async fn a_prefix_is_removed_and_nothing_else(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    let keys = [
        "user/1", "user/2", "user", "users/1", "us%/1", "a/user/1", "user*",
    ];
    for key in keys {
        cache
            .put(key, key.into(), LONG, Restart)
            .await
            .expect("the cache takes it");
        put(&cache, &format!("user/v/{key}"), "x", LONG).await;
    }
    cache.remove_prefix("user/").await.expect("removes");
    for key in keys {
        assert_eq!(
            get(&cache, key).await.is_some(),
            !key.starts_with("user/"),
            "{key}"
        );
        assert_eq!(get(&cache, &format!("user/v/{key}")).await, None);
    }
    for special in ["us%", "user*"] {
        cache.remove_prefix(special).await.expect("removes");
    }
    assert!(
        get(&cache, "user").await.is_some() && get(&cache, "users/1").await.is_some(),
        "no wildcards"
    );
}

pub async fn empty_and_large_values_come_back(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for (value, keep) in [
        (0, Volatile),
        (256 * 1024, Volatile),
        (0, Restart),
        (256 * 1024, Restart),
    ] {
        let value = Bytes::from(vec![0xa5; value]);
        cache
            .put("a", value.clone(), LONG, keep)
            .await
            .expect("the cache takes it");
        assert_eq!(get(&cache, "a").await, Some(value));
    }
}

pub async fn sessions_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    cache
        .put("long", "1".into(), LONG, Restart)
        .await
        .expect("the cache takes it");
    cache
        .put("short", "2".into(), SHORT, Restart)
        .await
        .expect("the cache takes it");
    drop(cache);
    let cache = fixture.open().await;
    assert_eq!(get(&cache, "long").await, Some("1".into()));
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        get(&cache, "short").await,
        None,
        "it keeps its time to live"
    );
    assert_eq!(get(&cache, "long").await, Some("1".into()));
}

pub async fn removed_sessions_stay_removed_over_a_restart(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for key in ["one", "all/1", "all/2"] {
        cache
            .put(key, "1".into(), LONG, Restart)
            .await
            .expect("the cache takes it");
    }
    cache.remove("one").await.expect("removes");
    cache.remove_prefix("all/").await.expect("removes");
    drop(cache);
    let cache = fixture.open().await;
    for key in ["one", "all/1", "all/2"] {
        assert_eq!(get(&cache, key).await, None, "{key}");
    }
}

pub async fn hits_are_counted_within_their_window(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for count in 1..=3 {
        assert_eq!(hit(&cache, "a", SHORT).await, count);
    }
    assert_eq!(
        hit(&cache, "b", SHORT).await,
        1,
        "each key has its own counter"
    );
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(hit(&cache, "a", SHORT).await, 1);
}

pub async fn a_window_does_not_grow_with_its_hits(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    assert_eq!(hit(&cache, "a", SHORT).await, 1);
    fixture.runtime().sleep(SHORT / 2).await;
    assert_eq!(hit(&cache, "a", SHORT).await, 2);
    fixture.runtime().sleep(PAST_SHORT - SHORT / 2).await;
    assert_eq!(
        hit(&cache, "a", SHORT).await,
        1,
        "it ended one window after its first hit"
    );
}

pub async fn hits_at_once_are_all_counted(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    let hits = (0..50).map(|_| hit(&cache, "a", LONG));
    let mut counts = futures_util::future::join_all(hits).await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());
}
