//! The port for durable data.
//!
//! A [`Store`] keeps the data of all services of a process: records, histories of aggregates,
//! views, counters, the journal, the inbox, and messages to send. [`Store::commit`] is its only
//! write path for services. The store either is its own broker, as SQLite is, or has an [`Outbox`],
//! from which the runtime's relay publishes to a [`Transport`](crate::Transport).
//!
//! # Contract
//!
//! - **Isolation.** A service reads and writes only its own data. Two services may use the same
//!   table name and key.
//! - **Consistency.** A read that starts after a commit has returned sees that commit.
//! - **Durability.** What was reported as [`Outcome::Committed`] survives a crash of the process
//!   and of the server.
//! - **Concurrency.** All methods may be called at the same time, by several processes.
//! - **Cancellation.** The caller may drop any returned future. A dropped commit is one whose
//!   outcome is unknown; a dropped claim may leave its lease in place until it expires.
//! - **Errors.** Every method fails with `store_unavailable` or a similar code of class
//!   [`Retry`](crate::Class::Retry) while the server is unavailable. Each call has its own time
//!   limit.
//!
//! The macro `store_conformance!` (feature `conformance`) tests this contract;
//! `docs/writing-an-adapter.md` shows how.

mod backlog;
mod text;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::unit::{Outcome, Row, Settled};
use crate::{
    Bodies, CorrelationId, Envelope, Error, Key, MessageId, Name, Result, Timestamp, Topology, Unit,
};

pub use backlog::{Backlog, COUNTED_MAX, DueBacklog, Waiting};
pub use text::{TEXT_MAX, has_nul, storable, unstorable};
pub use walk::Walk;

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The version: 1 after the first write, one more after each further write.
    pub version: u64,
    /// The content.
    pub body: Bytes,
    /// The time from which the record is due, if it is a timer, a call or a parked delivery.
    pub due_at: Option<Timestamp>,
}

/// A stored event of an aggregate's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The position in the history, counted from 1.
    pub sequence: u64,
    /// The time of the event.
    pub at: Timestamp,
    /// The encoded event.
    pub body: Bytes,
}

/// A query for one page of a view's rows.
///
/// ```
/// use wingbeat_core::Name;
/// use wingbeat_core::store::{Query, Select};
///
/// let cheapest = Query {
///     view: Name::new("products"),
///     select: Select::Prefix {
///         column: Name::new("price"),
///         prefix: String::new(),
///         descending: false,
///     },
///     after: None, // then `Page::next` of the page before
///     limit: 20,
/// };
/// # drop(cheapest);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The view.
    pub view: Name,
    /// The selected rows and their order.
    pub select: Select,
    /// The position after which the page starts; `None` for the first page.
    pub after: Option<Position>,
    /// The largest number of rows to return; at least 1.
    pub limit: usize,
}

/// The selected rows of a view, and their order. Values and keys compare by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// All rows, in the order of their keys.
    All,
    /// The rows whose value in a column starts with a prefix, in the order of value and key.
    Prefix {
        /// An indexed column.
        column: Name,
        /// The prefix. The empty prefix selects every row that has the column.
        prefix: String,
        /// Reverses the order of both value and key.
        descending: bool,
    },
    /// The rows whose value in a column lies in a half-open range, in the order of value and key.
    ///
    /// ```
    /// use wingbeat_core::Name;
    /// use wingbeat_core::store::Select;
    ///
    /// let november = Select::Range {
    ///     column: Name::new("placed_on"),
    ///     from: "2026-11-01".into(),
    ///     until: Some("2026-12-01".into()),
    ///     descending: true, // newest first
    /// };
    /// # drop(november);
    /// ```
    Range {
        /// An indexed column.
        column: Name,
        /// The lowest selected value. The empty text is the lowest value.
        from: String,
        /// The value before which the range ends; `None` if it has no upper end.
        until: Option<String>,
        /// Reverses the order of both value and key.
        descending: bool,
    },
    /// The rows whose value in a column contains a text, in the order of their keys.
    Contains {
        /// An indexed column. The service folds the case of its values if it wants to ignore case.
        column: Name,
        /// The text, which has no wildcards.
        part: String,
    },
}

/// A position between two rows of an ordered result. Clients carry it as an opaque cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The column's value of the row before; empty if the result is ordered by key.
    pub value: String,
    /// The key of the row before.
    pub key: String,
}

/// A page of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys and rows, in order.
    pub rows: Vec<(String, Row)>,
    /// The position after which the next page starts; `None` if this is the last page.
    pub next: Option<Position>,
}

/// A due record that this process has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRecord {
    /// The service that owns the record.
    pub service: Name,
    /// The key of the record.
    pub key: Key,
    /// The record. The unit that handles it reads this version, so that it takes effect once even
    /// if two processes have claimed it.
    pub record: Record,
}

/// Durable data of services; see the [module](self) for the contract of all methods.
pub trait Store: Send + Sync + 'static {
    /// Creates what these services and queues need, such as schemas and tables. The runtime calls
    /// it at each start, before any other method. It is idempotent, and several processes may run
    /// it together.
    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>>;

    /// Makes the data of these services readable for a process that only reads, instead of
    /// [`prepare`](Self::prepare). It changes nothing.
    ///
    /// A store that needs no preparation before reads has nothing to do, which is the default.
    ///
    /// # Errors
    ///
    /// A code of the adapter, such as `store_not_migrated`.
    fn inspect(&self, _services: &[Name]) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Checks, after [`prepare`](Self::prepare), that this process may write the data of these
    /// services. A process that runs services calls it; one that only reads their data does not.
    ///
    /// A store without privileges of its own needs no check.
    ///
    /// # Errors
    ///
    /// A code of the adapter, such as `store_not_granted`.
    fn check_writable(&self, _services: &[Name]) -> Result<()> {
        Ok(())
    }

    /// Checks that the store can be used: it answers, and it accepts writes. It costs one round
    /// trip and changes nothing.
    ///
    /// Readiness probes call it about once a second, also before [`prepare`](Self::prepare). It
    /// reconnects if necessary.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;

    /// Commits units in the given order, each completely or not at all, and returns one [`Outcome`]
    /// per unit. The units may belong to different services. There may be none.
    ///
    /// A unit that reads what an earlier unit of the batch wrote reads the version after that
    /// write. If the earlier unit is refused, the later one is [`Outcome::Stale`]. Units that share
    /// no key do not affect each other: one unit with a poisonous value is refused alone.
    ///
    /// A unit whose id is known was committed before: it is [`Outcome::Committed`] and takes no
    /// further effect. Otherwise, a unit whose delivery is settled is [`Outcome::Duplicate`], also
    /// when its reads are stale. The store remembers unit ids and deliveries for at least 30 days.
    ///
    /// # Errors
    ///
    /// Any error means that each unit may or may not be committed. The caller submits the same
    /// units again.
    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>>;

    /// Commits units as [`Store::commit`] does, and claims the messages that they add to the
    /// outbox.
    ///
    /// The messages are returned in the order of [`Outbox::claim`], and `claim` does not return
    /// them until `lease` has passed. Messages of units that were committed before are not
    /// returned. The default implementation claims none: the relay then finds the messages in the
    /// outbox.
    ///
    /// # Errors
    ///
    /// As for [`Store::commit`]. Messages that were claimed without a reply can be claimed after
    /// `lease`.
    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        _lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(async move { Ok((self.commit(units).await?, Vec::new())) })
    }

    /// Returns a record, or `None` if it is absent.
    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>>;

    /// Returns several records, in the order of their keys in `keys`. Keys may repeat. Views and
    /// checks use it; the records need not be from the same moment.
    fn load_all(
        &self,
        service: Name,
        keys: Vec<Key>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>>> {
        Box::pin(async move {
            let mut records = Vec::with_capacity(keys.len());
            for key in &keys {
                records.push(self.load(service, key).await?);
            }
            Ok(records)
        })
    }

    /// Returns at most `limit` records of a table in the order of their ids, starting after the id
    /// `after`. Audits and rebuilds use it; handlers never decide on a scan.
    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>>;

    /// Returns the history of an aggregate in order, starting after the position `after`.
    fn history(&self, service: Name, key: &Key, after: u64)
    -> BoxFuture<'_, Result<Vec<Recorded>>>;

    /// Returns at most `limit` events of the history of an aggregate in order, starting after the
    /// position `after`. Replays read long histories with it.
    ///
    /// The default implementation reads the whole history and discards the rest.
    fn history_page(
        &self,
        service: Name,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let history = self.history(service, key, after);
        Box::pin(async move {
            let mut events = history.await?;
            events.truncate(limit);
            Ok(events)
        })
    }

    /// Returns one row of a view, or `None` if it is absent.
    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>>;

    /// Returns one page of a view's rows. Pages are read one after another while units commit, so a
    /// row that moves may appear twice or not at all.
    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>>;

    /// Returns the journal entries of a service for one correlation id, in the order of their
    /// commits.
    fn journal(
        &self,
        service: Name,
        correlation: CorrelationId,
    ) -> BoxFuture<'_, Result<Vec<Bytes>>>;

    /// Returns the counters of a service, in any order.
    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>>;

    /// Returns whether a delivery is in the inbox: a unit that settles it was committed.
    fn settled(&self, queue: Name, source: &str, message: MessageId)
    -> BoxFuture<'_, Result<bool>>;

    /// Returns, for each of these deliveries of a service, whether it is in the inbox. The runtime
    /// asks before each run of a batch handler.
    ///
    /// The default implementation calls [`settled`](Self::settled) for each.
    fn settled_among(
        &self,
        _service: Name,
        deliveries: Vec<Settled>,
    ) -> BoxFuture<'_, Result<Vec<bool>>> {
        Box::pin(async move {
            let mut settled = Vec::with_capacity(deliveries.len());
            for it in &deliveries {
                settled.push(self.settled(it.queue, &it.source, it.message).await?);
            }
            Ok(settled)
        })
    }

    /// Claims at most `limit` records of these services that are due, and returns them. Of each
    /// service, the soonest come first.
    ///
    /// No call returns a claimed record again until `lease` has passed, counted from the claim, or
    /// until a unit has written the record. A restart of the store may end a lease early. `now` is
    /// the time of the caller: a store in the same process uses it, a store on a server uses the
    /// server's clock.
    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>>;

    /// Returns the soonest due time among the records of these services that nobody has claimed. It
    /// may lie in the past.
    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>>;

    /// Returns how much of a service waits in the store, for metrics and operators. It is cheap:
    /// counting stops at [`COUNTED_MAX`].
    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>>;

    /// Deletes a bounded number of expired rows and returns how many; zero if there are none left.
    ///
    /// Records expire at [`Write::expires_at`](crate::unit::Write::expires_at). Each store
    /// documents how long it keeps inbox entries, at least 30 days, and journal entries. The
    /// runtime calls it about once a minute, and again until it returns zero.
    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>>;

    /// Returns the outbox; `None` if the store is its own broker and puts messages into queues with
    /// the commit.
    fn outbox(&self) -> Option<Arc<dyn Outbox>>;

    /// Returns the store's place for bodies that are too large for a message; `None` if it has
    /// none, which is the default.
    fn bodies(&self) -> Option<Arc<dyn Bodies>> {
        None
    }
}

/// Committed messages that no broker has confirmed yet.
///
/// The contract of [`Store`] applies. Messages leave the outbox only through
/// [`confirmed`](Self::confirmed).
pub trait Outbox: Send + Sync + 'static {
    /// Claims at most `limit` messages of these services and returns them. Of each service, the
    /// oldest come first, in the order of their commits.
    ///
    /// No call returns a claimed message again until `lease` has passed, or until it is released.
    /// `now` is the time of the caller, for stores without a clock of their own.
    fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>>;

    /// Deletes messages that the broker has confirmed. Unknown ids are ignored. The deletion need
    /// not be durable at once: a message that reappears is published again, and each subscriber's
    /// inbox recognizes it.
    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>>;

    /// Ends the leases of claimed messages: each can be claimed again after its pause, counted from
    /// now by the clock of the store. Unknown ids are ignored.
    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<()>>;

    /// Returns how many messages of the type `kind` are in the outbox, claimed or not.
    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>>;
}

impl Query {
    /// Returns whether the query compares with a text that contains U+0000.
    fn has_nul(&self) -> bool {
        let (low, high) = match &self.select {
            Select::All => ("", None),
            Select::Prefix { prefix, .. } => (prefix.as_str(), None),
            Select::Range { from, until, .. } => (from.as_str(), until.as_deref()),
            Select::Contains { part, .. } => (part.as_str(), None),
        };
        let after = self.after.iter().flat_map(|at| [&*at.value, &*at.key]);
        [low].into_iter().chain(high).chain(after).any(has_nul)
    }
}

/// Read access to the data of one service.
///
/// No store keeps a text with U+0000, and PostgreSQL fails when it compares with one. A record or a
/// row with such a key is therefore absent, and a list from such a text is refused with
/// `unstorable`, whichever store it is.
#[derive(Clone)]
pub struct ServiceStore {
    store: Arc<dyn Store>,
    service: Name,
}

impl ServiceStore {
    /// Restricts `store` to the data of `service`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, service: Name) -> Self {
        Self { store, service }
    }

    /// Returns the service.
    #[must_use]
    pub fn service(&self) -> Name {
        self.service
    }

    /// Calls [`Store::load`].
    pub fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Record>>> {
        if has_nul(&key.id) {
            return Box::pin(async { Ok(None) });
        }
        self.store.load(self.service, key)
    }

    /// Calls [`Store::load_all`].
    pub fn load_all(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<Record>>>> {
        if keys.iter().any(|key| has_nul(&key.id)) {
            return Box::pin(async { Err(contains_nul()) });
        }
        self.store.load_all(self.service, keys)
    }

    /// Calls [`Store::scan`].
    pub fn scan(
        &self,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        if after.as_deref().is_some_and(has_nul) {
            return Box::pin(async { Err(contains_nul()) });
        }
        self.store.scan(self.service, table, after, limit)
    }

    /// Calls [`Store::history`].
    pub fn history<'a>(&'a self, key: &'a Key, after: u64) -> BoxFuture<'a, Result<Vec<Recorded>>> {
        self.store.history(self.service, key, after)
    }

    /// Calls [`Store::history_page`].
    pub fn history_page<'a>(
        &'a self,
        key: &'a Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Recorded>>> {
        self.store.history_page(self.service, key, after, limit)
    }

    /// Calls [`Store::row`].
    pub fn row<'a>(&'a self, view: Name, key: &'a str) -> BoxFuture<'a, Result<Option<Row>>> {
        if has_nul(key) {
            return Box::pin(async { Ok(None) });
        }
        self.store.row(self.service, view, key)
    }

    /// Calls [`Store::rows`].
    pub fn rows(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        if query.has_nul() {
            return Box::pin(async { Err(contains_nul()) });
        }
        self.store.rows(self.service, query)
    }

    /// Calls [`Store::journal`].
    pub fn journal(&self, correlation: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.store.journal(self.service, correlation)
    }

    /// Calls [`Store::settled_among`].
    pub fn settled_among(&self, deliveries: Vec<Settled>) -> BoxFuture<'_, Result<Vec<bool>>> {
        self.store.settled_among(self.service, deliveries)
    }

    /// Calls [`Store::counters`].
    pub fn counters(&self) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        self.store.counters(self.service)
    }
}

fn contains_nul() -> Error {
    unstorable("a key, a cursor or a text to search for contains the character U+0000")
}
