//! The conformance suite of the [`Cache`] port.
//!
//! `cache_conformance!` turns each test into a `#[test]`. `docs/writing-an-adapter.md` shows the
//! whole set-up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Cache;
use crate::cache::Durability::{self, Restart, Volatile};
use crate::runtime::SharedRuntime;

/// One test of the suite.
pub type Test = fn(Arc<dyn Fixture>) -> BoxFuture<'static, ()>;

/// The cache under test, with keys of its own. Each test has its own fixture.
pub trait Fixture: Send + Sync {
    /// Opens the cache of this fixture, which is empty at the first call. Before a test opens
    /// again, it drops the cache from the call before; together this stands for a restart of the
    /// process.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>>;
    /// Returns the clock and timers of the test itself.
    fn runtime(&self) -> SharedRuntime;
}

/// Turns each test of the cache suite into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::cache::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! cache_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::cache,
            [
                a_ping_succeeds_and_changes_nothing,
                a_value_is_kept_until_it_expires,
                the_last_put_wins,
                a_value_is_replaced_only_if_it_is_the_expected_one,
                a_removed_value_is_not_replaced,
                one_of_several_replacements_succeeds,
                a_removal_during_replacements_is_final,
                a_removed_value_is_gone,
                only_keys_with_the_prefix_are_removed,
                empty_and_large_values_are_returned_unchanged,
                sessions_survive_a_restart,
                removed_sessions_stay_removed_over_a_restart,
                hits_are_counted_within_their_window,
                a_window_does_not_grow_with_its_hits,
                concurrent_hits_are_all_counted,
            ]
        );
    };
}

const LONG: Duration = Duration::from_secs(600);
/// A time to live that ends within a test, but not while a slow machine runs the lines before its
/// end.
const SHORT: Duration = Duration::from_secs(4);
const PAST_SHORT: Duration = Duration::from_millis(4500);

async fn get(cache: &Arc<dyn Cache>, key: &str) -> Option<Bytes> {
    cache.get(key).await.expect("the cache can be read")
}

async fn put(cache: &Arc<dyn Cache>, key: &str, value: &'static str, ttl: Duration) {
    cache
        .put(key, value.into(), ttl, Volatile)
        .await
        .expect("the cache can be written");
}

async fn hit(cache: &Arc<dyn Cache>, key: &str, window: Duration) -> u64 {
    cache
        .hit(key, window)
        .await
        .expect("the cache can be written")
}

/// `ping` succeeds while the cache is available, and leaves values and counters as they are.
pub async fn a_ping_succeeds_and_changes_nothing(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    let ping = async || cache.ping().await.expect("the cache is available");
    ping().await;
    put(&cache, "a", "1", LONG).await;
    assert_eq!(hit(&cache, "n", LONG).await, 1);
    ping().await;
    assert_eq!(get(&cache, "a").await, Some("1".into()));
    assert_eq!(hit(&cache, "n", LONG).await, 2);
}

/// `get` returns a value until its time to live has passed, and `None` afterwards.
pub async fn a_value_is_kept_until_it_expires(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    assert_eq!(get(&cache, "a").await, None);
    put(&cache, "a", "1", SHORT).await;
    put(&cache, "b", "2", LONG).await;
    cache
        .put("c", "3".into(), SHORT, Restart)
        .await
        .expect("the cache can be written");
    assert_eq!(get(&cache, "a").await, Some("1".into()));
    assert_eq!(get(&cache, "c").await, Some("3".into()));
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        (get(&cache, "a").await, get(&cache, "c").await),
        (None, None)
    );
    assert_eq!(get(&cache, "b").await, Some("2".into()));
}

/// A `put` replaces value, expiry and durability.
pub async fn the_last_put_wins(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    put(&cache, "a", "1", SHORT).await;
    put(&cache, "a", "2", LONG).await;
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        get(&cache, "a").await,
        Some("2".into()),
        "with the time to live of the last put"
    );
    cache
        .put("a", "3".into(), LONG, Restart)
        .await
        .expect("the cache can be written");
    assert_eq!(
        get(&cache, "a").await,
        Some("3".into()),
        "with the durability of the last put"
    );
    put(&cache, "a", "4", LONG).await;
    assert_eq!(get(&cache, "a").await, Some("4".into()));
}

async fn replace(
    cache: &Arc<dyn Cache>,
    key: &str,
    expected: Option<&'static str>,
    value: impl Into<Bytes>,
    keep: Durability,
) -> bool {
    cache
        .replace(key, expected.map(Bytes::from), value.into(), LONG, keep)
        .await
        .expect("the cache can be written")
}

/// `replace` sets a value, its expiry and its durability, if the key has the expected value.
pub async fn a_value_is_replaced_only_if_it_is_the_expected_one(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for (key, keep) in [("volatile", Volatile), ("kept", Restart)] {
        cache
            .put(key, "1".into(), SHORT, keep)
            .await
            .expect("the cache can be written");
        assert!(!replace(&cache, key, Some("2"), "3", keep).await);
        assert!(!replace(&cache, key, None, "3", keep).await);
        assert_eq!(get(&cache, key).await, Some("1".into()));
        assert!(replace(&cache, key, Some("1"), "2", Restart).await);
        assert_eq!(get(&cache, key).await, Some("2".into()));
    }
    fixture.runtime().sleep(PAST_SHORT).await;
    drop(cache);
    let cache = fixture.open().await;
    for key in ["volatile", "kept"] {
        assert_eq!(get(&cache, key).await, Some("2".into()), "{key}");
    }
}

/// An absent, removed or expired value is replaced only by a caller who expects its absence.
pub async fn a_removed_value_is_not_replaced(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for keep in [Volatile, Restart] {
        assert!(!replace(&cache, "a", Some("1"), "2", keep).await);
        assert_eq!(get(&cache, "a").await, None);
        assert!(replace(&cache, "a", None, "1", keep).await);
        cache.remove("a").await.expect("the cache can be written");
        assert!(!replace(&cache, "a", Some("1"), "2", keep).await);
        assert_eq!(get(&cache, "a").await, None);
        cache
            .put("b", "1".into(), SHORT, keep)
            .await
            .expect("the cache can be written");
        fixture.runtime().sleep(PAST_SHORT).await;
        assert!(!replace(&cache, "b", Some("1"), "2", keep).await);
        assert!(replace(&cache, "b", None, "3", keep).await);
        assert_eq!(get(&cache, "b").await, Some("3".into()));
        cache.remove("b").await.expect("the cache can be written");
    }
}

/// Of twenty concurrent callers who expect the same value, one succeeds.
pub async fn one_of_several_replacements_succeeds(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for keep in [Volatile, Restart] {
        for expected in [None, Some("0")] {
            let callers = 0..20;
            let values = callers.map(|caller| format!("{caller} of {expected:?}"));
            let values: Vec<Bytes> = values.map(Bytes::from).collect();
            let callers = values
                .iter()
                .map(|value| replace(&cache, "a", expected, value.clone(), keep));
            let replaced = futures_util::future::join_all(callers).await;
            let winners = values.iter().zip(replaced).filter(|(_, won)| *won);
            let winners: Vec<&Bytes> = winners.map(|(value, _)| value).collect();
            assert_eq!(winners.len(), 1, "{winners:?}");
            assert_eq!(get(&cache, "a").await.as_ref(), Some(winners[0]));
            cache
                .put("a", "0".into(), LONG, keep)
                .await
                .expect("the cache can be written");
        }
        cache.remove("a").await.expect("the cache can be written");
    }
}

/// However a removal and replacements of the removed value interleave, the value stays removed.
pub async fn a_removal_during_replacements_is_final(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for keep in [Volatile, Restart] {
        for _ in 0..20 {
            cache
                .put("a", "1".into(), LONG, keep)
                .await
                .expect("the cache can be written");
            let update = async {
                let found = get(&cache, "a").await;
                if found.is_some() {
                    let replaced = cache.replace("a", found, "2".into(), LONG, keep);
                    replaced.await.expect("the cache can be written");
                }
            };
            let remove = async {
                cache.remove("a").await.expect("the cache can be written");
            };
            futures_util::future::join3(update, remove, get(&cache, "a")).await;
            assert_eq!(get(&cache, "a").await, None);
        }
    }
    drop(cache);
    let cache = fixture.open().await;
    assert_eq!(get(&cache, "a").await, None, "after a restart too");
}

/// `remove` deletes values of either durability, and accepts an absent key.
pub async fn a_removed_value_is_gone(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for keep in [Volatile, Restart] {
        cache
            .put("a", "1".into(), LONG, keep)
            .await
            .expect("the cache can be written");
        cache.remove("a").await.expect("the cache can be written");
        assert_eq!(get(&cache, "a").await, None);
    }
    cache
        .remove("never")
        .await
        .expect("removing an absent key succeeds");
}

/// `remove_prefix` compares bytes: no character is a wildcard.
pub async fn only_keys_with_the_prefix_are_removed(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    let keys = [
        "user/1", "user/2", "user", "users/1", "us%/1", "a/user/1", "user*",
    ];
    for key in keys {
        cache
            .put(key, key.into(), LONG, Restart)
            .await
            .expect("the cache can be written");
        put(&cache, &format!("user/v/{key}"), "x", LONG).await;
    }
    cache
        .remove_prefix("user/")
        .await
        .expect("the cache can be written");
    for key in keys {
        assert_eq!(
            get(&cache, key).await.is_some(),
            !key.starts_with("user/"),
            "{key}"
        );
        assert_eq!(get(&cache, &format!("user/v/{key}")).await, None);
    }
    for special in ["us%", "user*"] {
        cache
            .remove_prefix(special)
            .await
            .expect("the cache can be written");
    }
    assert!(
        get(&cache, "user").await.is_some() && get(&cache, "users/1").await.is_some(),
        "`%` and `*` are not wildcards"
    );
}

/// Values of 0 and 256 KiB are returned unchanged.
pub async fn empty_and_large_values_are_returned_unchanged(fixture: Arc<dyn Fixture>) {
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
            .expect("the cache can be written");
        assert_eq!(get(&cache, "a").await, Some(value));
    }
}

/// A value with [`Durability::Restart`] survives a restart and
/// expires when it would have.
pub async fn sessions_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    cache
        .put("long", "1".into(), LONG, Restart)
        .await
        .expect("the cache can be written");
    cache
        .put("short", "2".into(), SHORT, Restart)
        .await
        .expect("the cache can be written");
    drop(cache);
    let cache = fixture.open().await;
    assert_eq!(get(&cache, "long").await, Some("1".into()));
    fixture.runtime().sleep(PAST_SHORT).await;
    assert_eq!(
        get(&cache, "short").await,
        None,
        "a restart does not extend the time to live"
    );
    assert_eq!(get(&cache, "long").await, Some("1".into()));
}

/// A restart does not bring back a removed value.
pub async fn removed_sessions_stay_removed_over_a_restart(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    for key in ["one", "all/1", "all/2"] {
        cache
            .put(key, "1".into(), LONG, Restart)
            .await
            .expect("the cache can be written");
    }
    cache.remove("one").await.expect("the cache can be written");
    cache
        .remove_prefix("all/")
        .await
        .expect("the cache can be written");
    drop(cache);
    let cache = fixture.open().await;
    for key in ["one", "all/1", "all/2"] {
        assert_eq!(get(&cache, key).await, None, "{key}");
    }
}

/// A counter starts again from 1 after its window.
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

/// The first hit starts the window; later hits do not extend it.
pub async fn a_window_does_not_grow_with_its_hits(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    assert_eq!(hit(&cache, "a", SHORT).await, 1);
    fixture.runtime().sleep(SHORT / 2).await;
    assert_eq!(hit(&cache, "a", SHORT).await, 2);
    fixture.runtime().sleep(PAST_SHORT - SHORT / 2).await;
    assert_eq!(
        hit(&cache, "a", SHORT).await,
        1,
        "the counter ended one window after its first hit"
    );
}

/// Fifty concurrent hits return each count from 1 to 50 once.
pub async fn concurrent_hits_are_all_counted(fixture: Arc<dyn Fixture>) {
    let cache = fixture.open().await;
    let hits = (0..50).map(|_| hit(&cache, "a", LONG));
    let mut counts = futures_util::future::join_all(hits).await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());
}
