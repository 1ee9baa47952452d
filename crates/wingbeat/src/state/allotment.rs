//! Units that many callers claim at once.

use std::time::Duration;

use wingbeat_core::cache::{Allotments, Claim, Count, Decision, Log, Mark, Terms};
use wingbeat_core::{Error, Result};

use super::cached::CacheOf;
use crate::telemetry::meters;

/// Allotments of one kind: units that many callers claim at once, such as the goods of a flash
/// sale.
///
/// The cache decides on a claim in one atomic step, and the claim never reaches the store. The
/// decision is provisional: a [polling](crate::Service::poll) handler reads the
/// [claims](Self::claims) in batches, decides on each of them again in its unit of work, and
/// [settles](Self::settle) the batch once the unit is durable. The cache may lose an allotment at
/// any time; see the [contract](wingbeat_core::cache::Allotments) of the port.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::cache::{Claim, Count, Decision, Terms};
/// use wingbeat::state::Allotment;
/// use wingbeat::{Reads, Result, RuntimeExt};
///
/// const SEATS: Allotment = Allotment::new("seats:");
///
/// /// Opens the sale of these seats for an hour, one for each holder.
/// async fn open(reads: &Reads, show: &str, free: u64) -> Result<()> {
///     let (now, hour) = (reads.runtime().now(), Duration::from_secs(3600));
///     let terms = Terms { opens_at: now, closes_at: now + hour, per_holder: 1, log_max: 1_000 };
///     let count = Count { revision: 1, free, holders: Vec::new() };
///     SEATS.allot(reads, show, terms, count, 2 * hour).await
/// }
///
/// async fn claim(reads: &Reads, show: &str, holder: &str) -> Result<Decision> {
///     let id = reads.runtime().id().to_string();
///     SEATS.claim(reads, show, Claim { holder: holder.into(), id, operation: None }).await
/// }
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, Service, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(Service::new("theatre")));
/// # let reads = app.reads("theatre");
/// # assert_eq!(app.run(claim(&reads, "hamlet", "ann")).unwrap(), Decision::Unknown);
/// # app.run(open(&reads, "hamlet", 1)).unwrap();
/// # assert_eq!(app.run(claim(&reads, "hamlet", "ann")).unwrap(), Decision::Granted);
/// # assert_eq!(app.run(claim(&reads, "hamlet", "bob")).unwrap(), Decision::SoldOut);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Allotment {
    prefix: &'static str,
}

impl Allotment {
    /// Creates allotments whose keys in the cache start with `prefix`. Each kind needs a prefix of
    /// its own: all services share the cache.
    #[must_use]
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Creates an allotment, or replaces its terms and its count. The log stays.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached; `allotments_unsupported` if its adapter
    /// has no allotments.
    pub async fn allot(
        &self,
        from: &(impl CacheOf + ?Sized),
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> Result<()> {
        let allotments = allotments(from)?;
        allotments.allot(&self.key(key), terms, count, ttl).await
    }

    /// Decides on a claim, and appends it to the log if it is granted.
    ///
    /// # Errors
    ///
    /// As for [`allot`](Self::allot).
    pub async fn claim(
        &self,
        from: &(impl CacheOf + ?Sized),
        key: &str,
        claim: Claim,
    ) -> Result<Decision> {
        let decided = allotments(from)?.claim(&self.key(key), claim).await;
        meters::claim_decided(self.prefix, decided.as_ref().ok());
        decided
    }

    /// Returns at most `limit` of the oldest claims in the log, or `None` if the cache has no such
    /// allotment.
    ///
    /// # Errors
    ///
    /// As for [`allot`](Self::allot).
    pub async fn claims(
        &self,
        from: &(impl CacheOf + ?Sized),
        key: &str,
        limit: usize,
    ) -> Result<Option<Log>> {
        allotments(from)?.claims(&self.key(key), limit).await
    }

    /// Removes the claims before the mark from the log, and sets the count. Returns `false` if the
    /// cache has lost this generation of the allotment.
    ///
    /// # Errors
    ///
    /// As for [`allot`](Self::allot).
    pub async fn settle(
        &self,
        from: &(impl CacheOf + ?Sized),
        key: &str,
        mark: Mark,
        count: Count,
    ) -> Result<bool> {
        allotments(from)?.settle(&self.key(key), mark, count).await
    }

    /// Removes an allotment and its log.
    ///
    /// # Errors
    ///
    /// As for [`allot`](Self::allot).
    pub async fn end(&self, from: &(impl CacheOf + ?Sized), key: &str) -> Result<()> {
        allotments(from)?.end(&self.key(key)).await
    }
}

fn allotments(from: &(impl CacheOf + ?Sized)) -> Result<&dyn Allotments> {
    let found = from.cached().0.allotments();
    found.ok_or_else(|| {
        let text = "the cache has no allotments: its adapter does not implement them";
        Error::reject("allotments_unsupported", text)
    })
}
