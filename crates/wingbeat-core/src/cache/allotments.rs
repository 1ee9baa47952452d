//! The port for allotments: a limited number of units that many callers claim at once, such as
//! the goods of a flash sale or the seats of a concert.
//!
//! The cache decides each claim in one atomic step, so that a crowd never reaches the store. Its
//! decision is provisional. The service that owns the units reads the log of claims in batches,
//! decides on each claim again in a unit of work, and settles the batch. The store alone is the
//! truth: the service sets the free units from the store, and creates a lost allotment again.
//!
//! 1. [`allot`](Allotments::allot) opens an allotment with the free units that the store knows.
//! 2. [`claim`](Allotments::claim) grants a unit and appends the claim to the log, or refuses.
//! 3. [`claims`](Allotments::claims) returns the oldest claims of the log. The service records them
//!    in the store.
//! 4. [`settle`](Allotments::settle) removes the recorded claims from the log, and sets the free
//!    units to what the store says. Units that the service gave back meanwhile can be claimed
//!    again.
//! 5. [`end`](Allotments::end) removes the allotment.
//!
//! # Contract
//!
//! - **Atomicity.** Each method is one step. The units left are the free units of the newest
//!   [`Count`] minus the claims in the log, and never below zero.
//! - **Loss.** An allotment may be lost at any time, but only as a whole. Then `claim` answers
//!   [`Decision::Unknown`], until `allot` creates it again. The new allotment has another
//!   generation, so that a batch of the lost one cannot settle claims of the new one.
//! - **Order.** The log returns claims in the order in which they were granted.
//! - **Keys.** Keys of allotments differ from those of values and counters. Holders, ids and
//!   operations are any text.
//! - **Errors.** As for the [`Cache`](crate::Cache).
//!
//! The macro `allotment_conformance!` (feature `conformance`) tests this contract.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{Result, Timestamp};

/// The rules of an allotment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The time from which claims are granted.
    pub opens_at: Timestamp,
    /// The time from which no claim is granted any more.
    pub closes_at: Timestamp,
    /// The most units of one holder.
    pub per_holder: u32,
    /// The most claims in the log. It bounds the work that waits for the store.
    pub log_max: u64,
}

/// The state of an allotment, as the store knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The revision of the store's record. A count with an older revision than the last one is
    /// ignored.
    pub revision: u64,
    /// The units that no recorded claim has.
    pub free: u64,
    /// The units of holders. Holders that are not listed keep their units.
    pub holders: Vec<(String, u32)>,
}

/// A claim of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The claimant.
    pub holder: String,
    /// The id of the claim, which the caller generates.
    pub id: String,
    /// A text that repeated requests have in common. The repetition of a granted claim gets the
    /// claim's id.
    pub operation: Option<String>,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The claim is in the log.
    Granted,
    /// An earlier claim with the same operation was granted; this is its id.
    Repeated(String),
    /// No unit is left.
    SoldOut,
    /// The holder has as many units as a holder may have.
    LimitReached,
    /// The allotment is not open yet, or not any more.
    NotOpen,
    /// The log is full: the service is behind.
    LogFull,
    /// The cache has no such allotment. It may have lost it.
    Unknown,
}

/// A claim in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The claimant.
    pub holder: String,
    /// The id of the claim; empty if another program has damaged the entry. Nobody waits for such a
    /// claim: settle it like a recorded one.
    pub id: String,
}

/// The oldest claims of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The generation of the allotment.
    pub generation: String,
    /// The position of the first entry. Each further entry has the next position.
    pub first: u64,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The number of claims in the whole log.
    pub waiting: u64,
    /// The units that are left.
    pub left: u64,
}

/// A position in the log of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The generation.
    pub generation: String,
    /// The position of the first claim that is not settled.
    pub until: u64,
}

/// Units that many callers claim at once.
pub trait Allotments: Send + Sync {
    /// Creates an allotment for the duration `ttl`. If the cache has it, replaces its terms and its
    /// count, and keeps the log.
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>>;

    /// Decides on a claim, and appends it to the log if it is granted.
    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>>;

    /// Returns at most `limit` of the oldest claims in the log, or `None` if there is no such
    /// allotment. The claims stay in the log.
    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>>;

    /// Removes the claims before the mark from the log, and sets the count. Returns `false`, and
    /// changes nothing, if there is no allotment of this generation.
    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>>;

    /// Removes an allotment and its log. Removing an absent one has no effect.
    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>>;
}
