//! The conformance suite of [`Allotments`].
//!
//! `allotment_conformance!` turns each test into a `#[test]`. The fixture is the one of the
//! [cache](super::cache).

use std::sync::Arc;
use std::time::Duration;

use super::cache::Fixture;
use crate::cache::{Allotments, Cache, Claim, Count, Decision, Log, Mark, Terms};
use crate::runtime::SharedRuntime;

/// Turns each test of the suite into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::cache::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! allotment_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::allotments,
            [
                no_more_units_are_granted_than_are_free,
                concurrent_claims_get_each_unit_once,
                a_holder_gets_no_more_than_the_limit,
                claims_are_granted_within_the_window_only,
                a_repeated_operation_gets_the_first_claim,
                the_log_returns_claims_in_order_until_they_are_settled,
                a_full_log_refuses_claims,
                free_units_are_what_the_store_says,
                an_older_count_changes_nothing,
                a_unit_that_is_given_back_can_be_claimed_again,
                an_unknown_allotment_grants_nothing,
                a_batch_of_a_lost_allotment_settles_nothing,
                an_allotment_that_is_set_again_keeps_its_log,
                an_allotment_ends,
                any_text_is_a_holder_and_an_id,
            ]
        );
    };
}

const LONG: Duration = Duration::from_secs(600);
/// A window that ends within a test, but not while a slow machine runs the lines before its end.
const SHORT: Duration = Duration::from_secs(4);
const PAST_SHORT: Duration = Duration::from_millis(4500);
const KEY: &str = "seats:blue";

/// An opened cache and the time.
struct Bench {
    cache: Arc<dyn Cache>,
    runtime: SharedRuntime,
}

impl Bench {
    async fn open(fixture: &Arc<dyn Fixture>) -> Self {
        Self {
            cache: fixture.open().await,
            runtime: fixture.runtime(),
        }
    }

    fn allotments(&self) -> &dyn Allotments {
        self.cache.allotments().expect("the cache has allotments")
    }

    fn terms(&self, window: Duration) -> Terms {
        let now = self.runtime.now();
        Terms {
            opens_at: now,
            closes_at: now + window,
            per_holder: 1,
            log_max: 1_000,
        }
    }

    async fn allot(&self, terms: Terms, count: Count) {
        let allotted = self.allotments().allot(KEY, terms, count, LONG);
        allotted.await.expect("the cache can be written");
    }

    /// Opens an allotment with this many free units, one for each holder.
    async fn units(&self, free: u64) {
        self.allot(self.terms(LONG), count(1, free)).await;
    }

    async fn claim_as(&self, holder: &str, id: &str, operation: Option<&str>) -> Decision {
        let claim = Claim {
            holder: holder.into(),
            id: id.into(),
            operation: operation.map(Into::into),
        };
        let decided = self.allotments().claim(KEY, claim).await;
        decided.expect("the cache can be written")
    }

    async fn claim(&self, holder: &str) -> Decision {
        self.claim_as(holder, holder, None).await
    }

    async fn log(&self) -> Option<Log> {
        let log = self.allotments().claims(KEY, 1_000).await;
        log.expect("the cache can be read")
    }

    async fn left(&self) -> u64 {
        self.log().await.expect("the allotment exists").left
    }

    async fn ids(&self) -> Vec<String> {
        let log = self.log().await.expect("the allotment exists");
        log.entries.into_iter().map(|entry| entry.id).collect()
    }

    async fn settle(&self, generation: &str, until: u64, count: Count) -> bool {
        let mark = Mark {
            generation: generation.into(),
            until,
        };
        let settled = self.allotments().settle(KEY, mark, count).await;
        settled.expect("the cache can be written")
    }
}

fn count(revision: u64, free: u64) -> Count {
    Count {
        revision,
        free,
        holders: Vec::new(),
    }
}

fn holding(count: Count, holders: &[(&str, u32)]) -> Count {
    let holders = holders.iter().map(|(holder, n)| ((*holder).into(), *n));
    Count {
        holders: holders.collect(),
        ..count
    }
}

/// `claim` grants as many units as are free, and refuses the next claim.
pub async fn no_more_units_are_granted_than_are_free(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(2).await;
    assert_eq!(bench.left().await, 2);
    assert_eq!(bench.claim("ann").await, Decision::Granted);
    assert_eq!(bench.claim("bob").await, Decision::Granted);
    assert_eq!(bench.claim("eve").await, Decision::SoldOut);
    assert_eq!(bench.left().await, 0);
}

/// Of fifty concurrent claims to seven units, seven are granted.
pub async fn concurrent_claims_get_each_unit_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(7).await;
    let holders: Vec<String> = (0..50).map(|number| format!("holder {number}")).collect();
    let claims = holders.iter().map(|holder| bench.claim(holder));
    let decided = futures_util::future::join_all(claims).await;
    let granted = decided.iter().filter(|it| **it == Decision::Granted);
    assert_eq!(granted.count(), 7);
    let mut ids = bench.ids().await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
}

/// The limit counts the recorded units of a holder and its claims in the log.
pub async fn a_holder_gets_no_more_than_the_limit(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let terms = Terms {
        per_holder: 3,
        ..bench.terms(LONG)
    };
    bench
        .allot(terms, holding(count(1, 9), &[("ann", 1)]))
        .await;
    for id in ["1", "2"] {
        assert_eq!(bench.claim_as("ann", id, None).await, Decision::Granted);
    }
    assert_eq!(
        bench.claim_as("ann", "3", None).await,
        Decision::LimitReached
    );
    assert_eq!(bench.claim("bob").await, Decision::Granted);
    let generation = bench.log().await.expect("it exists").generation;
    let recorded = holding(count(2, 7), &[("ann", 3)]);
    assert!(bench.settle(&generation, 2, recorded).await);
    assert_eq!(
        bench.claim_as("ann", "4", None).await,
        Decision::LimitReached
    );
}

/// `claim` refuses before the window opens and once it has closed.
pub async fn claims_are_granted_within_the_window_only(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let opens_at = bench.runtime.now() + SHORT;
    let terms = Terms {
        opens_at,
        closes_at: opens_at + SHORT,
        ..bench.terms(LONG)
    };
    bench.allot(terms, count(1, 5)).await;
    assert_eq!(bench.claim("ann").await, Decision::NotOpen);
    bench.runtime.sleep(PAST_SHORT).await;
    assert_eq!(bench.claim("ann").await, Decision::Granted);
    bench.runtime.sleep(PAST_SHORT).await;
    assert_eq!(bench.claim("bob").await, Decision::NotOpen);
    assert_eq!(bench.ids().await, ["ann"], "the log stays");
}

/// A claim with the operation of a granted one gets its id, also when nothing is left.
pub async fn a_repeated_operation_gets_the_first_claim(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(1).await;
    let first = bench.claim_as("ann", "1", Some("ann/key"));
    assert_eq!(first.await, Decision::Granted);
    let again = bench.claim_as("ann", "2", Some("ann/key"));
    assert_eq!(again.await, Decision::Repeated("1".into()));
    let refused = bench.claim_as("bob", "3", Some("bob/key"));
    assert_eq!(refused.await, Decision::SoldOut);
    let refused = bench.claim_as("bob", "4", Some("bob/key"));
    assert_eq!(refused.await, Decision::SoldOut, "a refusal is not kept");
    assert_eq!(bench.ids().await, ["1"]);
}

/// `claims` returns claims oldest first, and again until `settle` removes them.
pub async fn the_log_returns_claims_in_order_until_they_are_settled(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(9).await;
    for holder in ["a", "b", "c", "d"] {
        assert_eq!(bench.claim(holder).await, Decision::Granted);
    }
    let first = bench.allotments().claims(KEY, 3).await;
    let first = first.expect("the cache can be read").expect("it exists");
    let ids: Vec<_> = first.entries.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(
        (ids, first.first, first.waiting),
        (vec!["a", "b", "c"], 0, 4)
    );
    assert_eq!(bench.ids().await, ["a", "b", "c", "d"]);
    assert!(bench.settle(&first.generation, 2, count(2, 7)).await);
    assert!(bench.settle(&first.generation, 2, count(2, 7)).await);
    let rest = bench.log().await.expect("it exists");
    assert_eq!((rest.first, rest.waiting, rest.left), (2, 2, 5));
    assert_eq!(bench.ids().await, ["c", "d"]);
}

/// `claim` refuses while the log has its most claims.
pub async fn a_full_log_refuses_claims(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let terms = Terms {
        log_max: 2,
        ..bench.terms(LONG)
    };
    bench.allot(terms, count(1, 9)).await;
    assert_eq!(bench.claim("a").await, Decision::Granted);
    assert_eq!(bench.claim("b").await, Decision::Granted);
    assert_eq!(bench.claim("c").await, Decision::LogFull);
    let generation = bench.log().await.expect("it exists").generation;
    assert!(bench.settle(&generation, 1, count(2, 8)).await);
    assert_eq!(bench.claim("c").await, Decision::Granted);
}

/// The units left are the free units of the count minus the claims in the log.
pub async fn free_units_are_what_the_store_says(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(5).await;
    for holder in ["a", "b", "c"] {
        bench.claim(holder).await;
    }
    let generation = bench.log().await.expect("it exists").generation;
    assert!(bench.settle(&generation, 1, count(2, 4)).await);
    assert_eq!(bench.left().await, 2, "two of four are in the log");
    assert!(bench.settle(&generation, 3, count(3, 4)).await);
    assert_eq!(bench.left().await, 4, "the store has refused two");
    assert!(bench.settle(&generation, 3, count(4, 0)).await);
    assert_eq!(bench.claim("d").await, Decision::SoldOut);
}

/// `settle` and `allot` ignore a count that is older than the last one.
pub async fn an_older_count_changes_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(5).await;
    let generation = bench.log().await.expect("it exists").generation;
    assert!(
        bench
            .settle(&generation, 0, holding(count(7, 3), &[("ann", 1)]))
            .await
    );
    assert!(
        bench
            .settle(&generation, 0, holding(count(6, 5), &[("ann", 0)]))
            .await
    );
    bench.allot(bench.terms(LONG), count(6, 5)).await;
    assert_eq!(bench.left().await, 3);
    assert_eq!(bench.claim("ann").await, Decision::LimitReached);
}

/// A unit that the store has back is left, and its holder may claim again.
pub async fn a_unit_that_is_given_back_can_be_claimed_again(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(1).await;
    assert_eq!(bench.claim("ann").await, Decision::Granted);
    let generation = bench.log().await.expect("it exists").generation;
    let recorded = holding(count(2, 0), &[("ann", 1)]);
    assert!(bench.settle(&generation, 1, recorded).await);
    assert_eq!(bench.claim("bob").await, Decision::SoldOut);
    let returned = holding(count(3, 1), &[("ann", 0)]);
    assert!(bench.settle(&generation, 1, returned).await);
    assert_eq!(bench.claim_as("ann", "2", None).await, Decision::Granted);
}

/// Without an allotment, `claim`, `claims` and `settle` say so, and `end` changes nothing.
pub async fn an_unknown_allotment_grants_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    assert_eq!(bench.claim("ann").await, Decision::Unknown);
    assert_eq!(bench.log().await, None);
    assert!(!bench.settle("first", 0, count(1, 5)).await);
    let ended = bench.allotments().end(KEY).await;
    ended.expect("ending an absent allotment succeeds");
    assert_eq!(bench.claim("ann").await, Decision::Unknown);
}

/// `settle` ignores a mark of another generation.
pub async fn a_batch_of_a_lost_allotment_settles_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(5).await;
    bench.claim("ann").await;
    let lost = bench.log().await.expect("it exists").generation;
    let ended = bench.allotments().end(KEY).await;
    ended.expect("the cache can be written");
    assert_eq!(bench.claim("bob").await, Decision::Unknown);
    bench.units(5).await;
    assert_eq!(bench.claim("bob").await, Decision::Granted);
    assert!(!bench.settle(&lost, 1, count(9, 0)).await);
    assert_eq!(bench.ids().await, ["bob"]);
    assert_eq!(bench.left().await, 4);
}

/// `allot` replaces terms and count of an allotment that exists, and keeps claims and generation.
pub async fn an_allotment_that_is_set_again_keeps_its_log(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(2).await;
    bench.claim_as("ann", "1", Some("op")).await;
    let before = bench.log().await.expect("it exists").generation;
    let terms = Terms {
        per_holder: 2,
        ..bench.terms(LONG)
    };
    bench.allot(terms, count(2, 4)).await;
    let after = bench.log().await.expect("it exists");
    assert_eq!(
        (after.generation, after.waiting, after.left),
        (before, 1, 3)
    );
    assert_eq!(bench.claim_as("ann", "2", None).await, Decision::Granted);
    assert_eq!(
        bench.claim_as("ann", "3", None).await,
        Decision::LimitReached
    );
    let again = bench.claim_as("ann", "4", Some("op")).await;
    assert_eq!(again, Decision::Repeated("1".into()));
}

/// An allotment and its log end after their time to live.
pub async fn an_allotment_ends(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let allotted = bench
        .allotments()
        .allot(KEY, bench.terms(LONG), count(1, 5), SHORT);
    allotted.await.expect("the cache can be written");
    assert_eq!(bench.claim("ann").await, Decision::Granted);
    bench.runtime.sleep(PAST_SHORT).await;
    assert_eq!(bench.claim("bob").await, Decision::Unknown);
    assert_eq!(bench.log().await, None);
    bench.units(5).await;
    assert_eq!(bench.left().await, 5, "nothing is left of the log");
}

/// Texts that look like delimiters are returned unchanged.
pub async fn any_text_is_a_holder_and_an_id(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.units(9).await;
    let texts = [
        ("", "1"),
        ("4:5", "1:2"),
        ("a b", "c:d e"),
        ("é\n", "\n%"),
        ("9", ""),
    ];
    for (holder, id) in texts {
        assert_eq!(bench.claim_as(holder, id, None).await, Decision::Granted);
        assert_eq!(
            bench.claim_as(holder, id, None).await,
            Decision::LimitReached
        );
    }
    let log = bench.log().await.expect("it exists");
    let entries = log.entries.iter();
    let found: Vec<_> = entries
        .map(|it| (it.holder.as_str(), it.id.as_str()))
        .collect();
    assert_eq!(found, texts);
    assert!(bench.settle(&log.generation, 5, count(2, 9)).await);
    for (holder, id) in texts {
        assert_eq!(bench.claim_as(holder, id, None).await, Decision::Granted);
    }
}
