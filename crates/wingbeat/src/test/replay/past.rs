//! The world of one recorded unit: a clock that stands still, a store with what the unit read, and
//! outside systems that answer as they did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::store::{DueRecord, Outbox, Page, Position, Query, Record, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    BoxFuture, CorrelationId, Error, HttpClient, Key, MessageId, Name, Result, Runtime, Store,
    Timestamp, Topology, Unit,
};

use crate::recording::{self, Exchange, Failed, Listed, RecordedUnit};
use crate::store::Backlog;
use crate::story::History;
use crate::test::model::lock;

/// The code of errors of a replay itself.
pub(super) const NOT_RECORDED: &str = "not_recorded";

/// What the code asked for and the recording does not have.
#[derive(Clone, Default)]
pub(super) struct Missing(Arc<Mutex<Vec<String>>>);

impl Missing {
    fn note(&self, what: String) -> Error {
        let text = format!("{what} is not in the recording");
        lock(&self.0).push(what);
        Error::reject(NOT_RECORDED, text)
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// A runtime whose wall clock stands at the time of the unit.
pub(super) struct Clock {
    pub(super) inner: Arc<dyn Runtime>,
    pub(super) at: Timestamp,
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        self.at
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.inner.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.inner.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.inner.fill_secret(bytes);
    }
}

/// A store that contains what one unit read.
pub(super) struct Past {
    records: BTreeMap<Key, Option<Record>>,
    lists: BTreeMap<String, Listed>,
    histories: BTreeMap<Key, Vec<Recorded>>,
    missing: Missing,
}

impl Past {
    pub(super) fn new(unit: &RecordedUnit, histories: &[History], missing: &Missing) -> Self {
        let reads = unit.reads.iter().map(|read| {
            let record = read.body.as_ref().map(|body| Record {
                version: read.version,
                body: body.bytes(),
                due_at: None,
            });
            (Key::new(Name::intern(&read.table), &read.id), record)
        });
        let records: BTreeMap<_, _> = reads.collect();
        let lists = unit.lists.iter().map(|it| (it.query.clone(), it.clone()));
        let histories = histories.iter().filter(|it| it.service == unit.service);
        let histories = histories.filter_map(|it| {
            let key = Key::new(Name::intern(&it.table), &it.id);
            let record = records.get(&key)?.as_ref()?;
            let length = covered(&record.body).unwrap_or_default();
            // A part of a history would be another state.
            (it.events.len() >= length).then(|| (key, recorded(it, length)))
        });
        Self {
            histories: histories.collect(),
            lists: lists.collect(),
            missing: missing.clone(),
            records,
        }
    }

    fn record(&self, key: &Key) -> Result<Option<Record>> {
        let record = self.records.get(key).cloned();
        record.ok_or_else(|| self.missing.note(format!("{}/{}", key.table, key.id)))
    }

    fn list(&self, query: String) -> Result<Listed> {
        let list = self.lists.get(&query).cloned();
        list.ok_or_else(|| self.missing.note(query))
    }
}

/// Returns the length of the history that a snapshot covers.
fn covered(body: &[u8]) -> Option<usize> {
    let snapshot: serde_json::Value = serde_json::from_slice(body).ok()?;
    usize::try_from(snapshot.get("v")?.as_u64()?).ok()
}

fn recorded(history: &History, length: usize) -> Vec<Recorded> {
    let events = (1..).zip(&history.events).take(length);
    let events = events.map(|(sequence, (at, body))| Recorded {
        sequence,
        at: *at,
        body: body.bytes(),
    });
    events.collect()
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T>> {
    Box::pin(async { Ok(value) })
}

impl Store for Past {
    fn prepare(&self, _: &[Name], _: &Topology) -> BoxFuture<'_, Result<()>> {
        done(())
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        done(())
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        done(vec![Outcome::Committed; units.len()])
    }

    fn load(&self, _: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let record = self.record(key);
        Box::pin(async { record })
    }

    fn scan(
        &self,
        _: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        let list = self.list(recording::scan_query(table, after.as_deref(), limit));
        let record = |(id, version, body): (String, u64, recording::Body)| {
            let record = Record {
                version,
                body: body.bytes(),
                due_at: None,
            };
            (id, record)
        };
        let records = list.map(|list| list.rows.into_iter().map(record).collect());
        Box::pin(async { records })
    }

    fn history(&self, _: Name, key: &Key, after: u64) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let events = match self.histories.get(key) {
            Some(events) => Ok(events.clone()),
            None => Err(self
                .missing
                .note(format!("the history of {}/{}", key.table, key.id))),
        };
        let events = events.map(|mut events| {
            events.retain(|it| it.sequence > after);
            events
        });
        Box::pin(async { events })
    }

    fn row(&self, _: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let list = self.list(recording::row_query(view, key));
        let row = list.map(|list| list.rows.into_iter().next().map(|(_, _, body)| row(&body)));
        Box::pin(async { row })
    }

    fn rows(&self, _: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        let page = self.list(recording::rows_query(&query)).map(|list| Page {
            rows: list
                .rows
                .iter()
                .map(|(key, _, body)| (key.clone(), row(body)))
                .collect(),
            next: list.next.map(|(value, key)| Position { value, key }),
        });
        Box::pin(async { page })
    }

    fn journal(&self, _: Name, _: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        done(Vec::new())
    }

    fn counters(&self, _: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        done(Vec::new())
    }

    fn settled(&self, _: Name, _: &str, _: MessageId) -> BoxFuture<'_, Result<bool>> {
        done(false)
    }

    fn claim_due(
        &self,
        _: &[Name],
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        done(Vec::new())
    }

    fn next_due(&self, _: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        done(None)
    }

    fn backlog(&self, _: Name, _: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        done(Backlog::default())
    }

    fn retain(&self, _: Timestamp) -> BoxFuture<'_, Result<u64>> {
        done(0)
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        None
    }
}

fn row(body: &recording::Body) -> Row {
    Row {
        columns: Vec::new(),
        body: body.bytes(),
    }
}

/// The outside system of a call, which gives the recorded answers.
pub(super) struct Answers {
    left: Mutex<VecDeque<Exchange>>,
    missing: Missing,
}

impl Answers {
    pub(super) fn new(answers: &[Exchange], missing: &Missing) -> Self {
        Self {
            left: Mutex::new(answers.iter().cloned().collect()),
            missing: missing.clone(),
        }
    }
}

impl HttpClient for Answers {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        let next = lock(&self.left).pop_front();
        let answer = match next {
            Some(Exchange::Response {
                status,
                headers,
                body,
            }) => Ok(Response {
                status,
                headers,
                body: body.bytes(),
            }),
            Some(Exchange::Failed(failed)) => Err(error(&failed)),
            None => Err(self
                .missing
                .note(format!("the answer to {}", request.method))),
        };
        Box::pin(async { answer })
    }
}

/// Returns a recorded error.
pub(super) fn error(failed: &Failed) -> Error {
    let code = Name::intern(&failed.code).as_str();
    if failed.retry {
        return Error::retry(code, &failed.error);
    }
    Error::reject(code, &failed.error)
}
