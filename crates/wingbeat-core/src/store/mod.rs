//! The port for what must last.

mod backlog;
#[cfg(feature = "conformance")]
pub mod conformance;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::unit::{Outcome, Row};
use crate::{CorrelationId, Envelope, Key, MessageId, Name, Result, Timestamp, Topology, Unit};

pub use backlog::{Backlog, COUNTED_MAX, DueBacklog, Waiting};

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Starts at 1 and grows by one with each write.
    pub version: u64,
    /// The content.
    pub body: Bytes,
    /// From when it is due, if it is a timer, a call or a parked delivery.
    pub due_at: Option<Timestamp>,
}

/// An event of an aggregate's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place, from 1.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The stored form.
    pub body: Bytes,
}

/// Which rows of a view to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The view.
    pub view: Name,
    /// What must hold.
    pub select: Select,
    /// Continue after this position (see [`Page::next`]).
    pub after: Option<Position>,
    /// At most this many rows.
    pub limit: usize,
}

/// How rows are found. Rows come in the order of the column's value, then of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Every row, by key.
    All,
    /// Rows whose column starts with `prefix`; backwards if `descending`.
    Prefix {
        /// An index column.
        column: Name,
        /// What its value starts with; empty for all.
        prefix: String,
        /// From the end.
        descending: bool,
    },
    /// Rows whose column contains `part`, byte for byte, by key.
    Contains {
        /// An index column, case-folded by the service.
        column: Name,
        /// What its value contains.
        part: String,
    },
}

/// A place in an ordered result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The column's value (empty when ordered by key).
    pub value: String,
    /// The row's key.
    pub key: String,
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and rows.
    pub rows: Vec<(String, Row)>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Position>,
}

/// A due record that was claimed by this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRecord {
    /// Whose it is.
    pub service: Name,
    /// The record.
    pub key: Key,
    /// Its version and content; reading the version guards against firing twice.
    pub record: Record,
}

/// Keeps what must last: records, histories, views, inbox, journal, counters, and messages to send.
///
/// `commit` is the only way in. What it answered [`Outcome::Committed`] survives the loss of the process.
pub trait Store: Send + Sync + 'static {
    /// Makes the store ready for these services and queues; safe to repeat.
    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>>;

    /// Commits units in order, each all or nothing; one outcome a unit. A unit that reads what an
    /// earlier unit of the batch wrote sees that write; if the earlier one is refused it is stale.
    ///
    /// # Errors
    ///
    /// Nothing is known about any unit: submit the same units again.
    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>>;

    /// Commits as [`Store::commit`] does, and hands the messages of the units it put into the outbox to the caller,
    /// as [`Outbox::claim`] would a moment later: oldest first, to nobody else for `lease`. Messages of units that
    /// were there before are not among them. A store that cannot do so hands out none.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`]. What a lost answer would have handed out is free again after `lease`.
    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        _lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(async move { Ok((self.commit(units).await?, Vec::new())) })
    }

    /// A record, or `None`.
    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>>;
    /// Several records at once, in the order of their keys. For those who watch, not for decisions.
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
    /// Records of a table in order of id, after `after`. For audits and rebuilds, not for decisions.
    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>>;
    /// The history of an aggregate, from after `sequence`.
    fn history(&self, service: Name, key: &Key, after: u64)
    -> BoxFuture<'_, Result<Vec<Recorded>>>;
    /// One row of a view.
    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>>;
    /// Rows of a view.
    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>>;
    /// What units of this service did in a story, oldest first.
    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>>;
    /// The service's counters.
    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>>;
    /// Whether a delivery was settled before.
    fn settled(&self, queue: Name, source: &str, message: MessageId)
    -> BoxFuture<'_, Result<bool>>;

    /// Hands out due records of these services by the store's clock, at most `limit`, soonest first,
    /// to nobody else for `lease`. `now` is the caller's clock, for stores that live in its process.
    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>>;
    /// When the next record of these services is due that nobody holds.
    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>>;

    /// What waits here of this service. For those who watch, not for decisions.
    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>>;

    /// Deletes what has outlived its retention, a bounded amount; how many rows went.
    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>>;

    /// The outbox, unless the store is its own broker and queues messages with the commit.
    fn outbox(&self) -> Option<Arc<dyn Outbox>>;
}

/// Messages that were committed and still have to be published.
pub trait Outbox: Send + Sync + 'static {
    /// Messages to publish, oldest first, to nobody else for `lease`.
    fn claim(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Envelope>>>;
    /// Removes what the broker confirmed, by id and nothing else.
    fn confirmed(&self, ids: Vec<MessageId>) -> BoxFuture<'_, Result<()>>;
    /// Lets claimed messages go before their lease ends: each is handed out again after its pause, by the store's
    /// clock. `now` is the caller's, for stores that live in its process.
    fn release(
        &self,
        pauses: Vec<(MessageId, Duration)>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<()>>;
    /// How many messages of a type wait here.
    fn waiting(&self, kind: &str) -> BoxFuture<'_, Result<u64>>;
}

/// A store that sees one service's data and nothing else. This is what handlers are given.
#[derive(Clone)]
pub struct ServiceStore {
    store: Arc<dyn Store>,
    service: Name,
}

impl ServiceStore {
    /// The data of `service`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, service: Name) -> Self {
        Self { store, service }
    }

    /// Whose data this is.
    #[must_use]
    pub fn service(&self) -> Name {
        self.service
    }

    /// See [`Store::load`].
    pub fn load<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Record>>> {
        self.store.load(self.service, key)
    }

    /// See [`Store::load_all`].
    pub fn load_all(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<Record>>>> {
        self.store.load_all(self.service, keys)
    }

    /// See [`Store::scan`].
    pub fn scan(
        &self,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        self.store.scan(self.service, table, after, limit)
    }

    /// See [`Store::history`].
    pub fn history<'a>(&'a self, key: &'a Key, after: u64) -> BoxFuture<'a, Result<Vec<Recorded>>> {
        self.store.history(self.service, key, after)
    }

    /// See [`Store::row`].
    pub fn row<'a>(&'a self, view: Name, key: &'a str) -> BoxFuture<'a, Result<Option<Row>>> {
        self.store.row(self.service, view, key)
    }

    /// See [`Store::rows`].
    pub fn rows(&self, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.store.rows(self.service, query)
    }

    /// See [`Store::journal`].
    pub fn journal(&self, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.store.journal(self.service, story)
    }

    /// See [`Store::counters`].
    pub fn counters(&self) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        self.store.counters(self.service)
    }
}
