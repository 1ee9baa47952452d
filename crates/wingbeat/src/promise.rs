//! Promises to users: something is done within a time, such as "accepted orders are paid within
//! five seconds".
//!
//! A promise is counted in the unit that makes it, and in the one that keeps it. So each one is
//! counted once, also after a crash, a retry or an outage, and by whichever replica. `/metrics`
//! shows the counts of all replicas (`wingbeat_promises_made_total`,
//! `wingbeat_promises_ended_total`), and the alert `PromisesLate` compares them: it rises while
//! promises are made and not kept, before any of them has ended.

use std::time::Duration;

use wingbeat_core::{Name, Result, Timestamp};

use crate::unit::{Scope, counter};

/// The prefix of the counters' names.
const COUNTER: &str = "promise";
/// The end of the name of the counter of all that were made.
const MADE: &str = "made";
/// The share of promises to keep, if the service names none.
const OBJECTIVE: f64 = 0.99;

/// The ways in which a promise ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromiseEnd {
    /// In time.
    Kept,
    /// After its time.
    Late,
    /// Never, because of the system.
    Failed,
    /// Nobody waits for it any more, for example because the customer has cancelled.
    Released,
}

impl PromiseEnd {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Late, Self::Failed, Self::Released];

    /// Returns the word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Late => "late",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }
}

/// A promise that something is done within a time.
///
/// [`make`](Self::make) it once, in the unit that accepts the work, and store the time. End it
/// once, with [`keep`](Self::keep), [`fail`](Self::fail) or [`release`](Self::release). A saga uses
/// the methods of the same names of [`SagaEffects`](crate::SagaEffects). Register it with
/// [`Service::promise`](crate::Service::promise), so that its metrics exist from the start.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::{Promise, Scope, Timestamp};
///
/// /// Tickets are answered within an hour.
/// const ANSWERED: Promise = Promise::new("answered", Duration::from_secs(3600));
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "tickets.answer", version = 1, key = ticket)]
/// struct Answer { ticket: u32, opened_at: Timestamp }
///
/// async fn answer(command: Answer, scope: Scope) -> Result<()> {
///     ANSWERED.keep(&scope, command.opened_at)
/// }
///
/// let tickets = Service::new("tickets").promise(ANSWERED).on(answer);
/// # drop(tickets);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    name: &'static str,
    within: Duration,
    objective: f64,
}

impl Promise {
    /// Creates a promise with an objective of 99 %. The name is unique within its service; it
    /// identifies the counters, so a renamed promise starts at zero.
    #[must_use]
    pub const fn new(name: &'static str, within: Duration) -> Self {
        Self {
            name,
            within,
            objective: OBJECTIVE,
        }
    }

    /// Sets the share of promises to keep, such as 0.999. The alert fires at 14.4 times the allowed
    /// share of others, so it needs an objective over 0.94.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    #[must_use]
    pub const fn objective(mut self, share: f64) -> Self {
        assert!(share > 0.0 && share < 1.0, "a share is between 0 and 1");
        self.objective = share;
        self
    }

    /// Returns the name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the share of promises to keep.
    #[must_use]
    pub const fn share(&self) -> f64 {
        self.objective
    }

    /// Counts a promise that is made in this unit.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn make(&self, scope: &Scope) -> Result<()> {
        scope.count(self.made(), 1)
    }

    /// Counts a promise that was made at `since` and is kept in this unit: in time or late.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn keep(&self, scope: &Scope, since: Timestamp) -> Result<()> {
        let is_late = scope.now().since(since) > self.within;
        let end = if is_late {
            PromiseEnd::Late
        } else {
            PromiseEnd::Kept
        };
        scope.count(self.ended(end), 1)
    }

    /// Counts a promise that will not be kept.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn fail(&self, scope: &Scope) -> Result<()> {
        scope.count(self.ended(PromiseEnd::Failed), 1)
    }

    /// Counts a promise that nobody waits for any more.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn release(&self, scope: &Scope) -> Result<()> {
        scope.count(self.ended(PromiseEnd::Released), 1)
    }

    /// Returns the name of the service's counter of all that were made.
    #[must_use]
    pub fn made(&self) -> Name {
        self.counter(MADE)
    }

    /// Returns the name of the service's counter of those with this end.
    #[must_use]
    pub fn ended(&self, end: PromiseEnd) -> Name {
        self.counter(end.as_str())
    }

    fn counter(&self, what: &str) -> Name {
        counter(COUNTER, &format!("{}:{what}", self.name))
    }
}
