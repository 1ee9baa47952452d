//! Caches whose allotments each break one promise.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::Result;
use wingbeat_core::cache::{Allotments, Cache, Claim, Count, Decision, Log, Mark, Terms};
use wingbeat_core::conformance::allotments as suite;
use wingbeat_core::conformance::cache::{Fixture, Test};
use wingbeat_core::runtime::SharedRuntime;

use crate::conformance::InModel;

/// The broken promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    NeverCloses,
    NoLimit,
    NoOperations,
    AnyGeneration,
    AnyRevision,
    NothingIsSettled,
    NoBound,
}

struct Broken {
    inner: Arc<dyn Cache>,
    breach: Breach,
}

impl Broken {
    fn inner(&self) -> &dyn Allotments {
        self.inner.allotments().expect("the model has allotments")
    }

    fn counted(&self, count: Count) -> Count {
        match self.breach {
            Breach::AnyRevision => Count {
                revision: 1_000,
                ..count
            },
            _ => count,
        }
    }
}

impl Allotments for Broken {
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>> {
        let terms = match self.breach {
            Breach::NeverCloses => Terms {
                closes_at: terms.closes_at + Duration::from_secs(3_600),
                ..terms
            },
            Breach::NoBound => Terms {
                log_max: u64::MAX,
                ..terms
            },
            _ => terms,
        };
        self.inner().allot(key, terms, self.counted(count), ttl)
    }

    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>> {
        let claim = match self.breach {
            Breach::NoLimit => Claim {
                holder: format!("{}/{}", claim.holder, claim.id),
                ..claim
            },
            Breach::NoOperations => Claim {
                operation: None,
                ..claim
            },
            _ => claim,
        };
        self.inner().claim(key, claim)
    }

    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>> {
        self.inner().claims(key, limit)
    }

    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>> {
        let (key, count) = (key.to_owned(), self.counted(count));
        Box::pin(async move {
            let mut mark = mark;
            if self.breach == Breach::AnyGeneration
                && let Some(log) = self.inner().claims(&key, 0).await?
            {
                mark.generation = log.generation;
            }
            if self.breach == Breach::NothingIsSettled {
                mark.until = 0;
            }
            self.inner().settle(&key, mark, count).await
        })
    }

    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        self.inner().end(key)
    }
}

impl Cache for Broken {
    forward_cache!(ping, get, put, replace, remove, remove_prefix, hit);

    fn allotments(&self) -> Option<&dyn Allotments> {
        Some(self)
    }
}

struct Opened(InModel, Breach);

impl Fixture for Opened {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Cache>> {
        Box::pin(async {
            let inner = Fixture::open(&self.0).await;
            let breach = self.1;
            Arc::new(Broken { inner, breach }) as Arc<dyn Cache>
        })
    }

    fn runtime(&self) -> SharedRuntime {
        self.0.simulation.runtime()
    }
}

fn run(breach: Breach, test: Test) {
    let fixture = Opened(InModel::new(0), breach);
    let world = fixture.0.simulation.clone();
    world.run(test(Arc::new(fixture)));
}

/// Declares the control of each breach: a test of the suite that must fail.
macro_rules! caught {
    ($($control:ident: $breach:ident, $test:ident;)*) => {
        $(
            #[test]
            #[should_panic]
            fn $control() {
                run(Breach::$breach, |fixture| Box::pin(suite::$test(fixture)));
            }
        )*
    };
}

caught! {
    a_window_that_does_not_close: NeverCloses, claims_are_granted_within_the_window_only;
    a_holder_without_a_limit: NoLimit, a_holder_gets_no_more_than_the_limit;
    a_forgotten_operation: NoOperations, a_repeated_operation_gets_the_first_claim;
    a_batch_that_settles_another_generation: AnyGeneration,
        a_batch_of_a_lost_allotment_settles_nothing;
    an_older_count_that_wins: AnyRevision, an_older_count_changes_nothing;
    a_log_that_never_ends: NothingIsSettled,
        the_log_returns_claims_in_order_until_they_are_settled;
    a_log_without_a_bound: NoBound, a_full_log_refuses_claims;
}
