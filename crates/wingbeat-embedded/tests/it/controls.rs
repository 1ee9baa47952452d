//! Negative controls of the SQL conformance suite: stores that each violate one rule must fail it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::store::sql as suite;
use wingbeat_core::conformance::{Fixture, Opened, Test};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Backlog, DueRecord, Outbox, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    CorrelationId, Key, MessageId, Name, Record, Result, Store, Timestamp, Topology, Unit, UnitId,
};

use crate::conformance::{OnDisk, block_on};

/// The rule that a store violates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    ExpectationsIgnored,
    StatementsForgotten,
    StatementsBefore,
    StatementsAfter,
    BatchFailsTogether,
}

struct BrokenStore {
    inner: Arc<dyn Store>,
    breach: Breach,
}

/// Returns another unit with only the statements of a unit.
fn only_statements(unit: &Unit) -> Unit {
    let other = UnitId(uuid::Uuid::from_u128(unit.id.0.as_u128() ^ 1));
    Unit {
        statements: unit.statements.clone(),
        ..Unit::new(other, unit.service, unit.at)
    }
}

/// Returns a unit without its statements.
fn without_statements(unit: &Unit) -> Unit {
    Unit {
        statements: Vec::new(),
        ..unit.clone()
    }
}

impl BrokenStore {
    async fn one(&self, unit: Unit) -> Result<Outcome> {
        Ok(self.inner.commit(Arc::new(vec![unit])).await?[0])
    }

    async fn commit_one(&self, unit: &Unit) -> Result<Outcome> {
        match self.breach {
            Breach::ExpectationsIgnored => {
                let mut unit = unit.clone();
                unit.statements.iter_mut().for_each(|it| it.rows = None);
                self.one(unit).await
            }
            Breach::StatementsForgotten => self.one(without_statements(unit)).await,
            Breach::StatementsBefore => match self.one(only_statements(unit)).await? {
                Outcome::Committed => self.one(without_statements(unit)).await,
                other => Ok(other),
            },
            Breach::StatementsAfter => {
                self.one(without_statements(unit)).await?;
                self.one(only_statements(unit)).await
            }
            Breach::BatchFailsTogether => self.one(unit.clone()).await,
        }
    }
}

impl Store for BrokenStore {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.ping()
    }

    fn prepare(&self, services: &[Name], topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.inner.prepare(services, topology)
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            let mut outcomes = Vec::new();
            for unit in units.iter() {
                let before = outcomes.iter().find(|it| **it != Outcome::Committed);
                let outcome = match before {
                    Some(failed) if self.breach == Breach::BatchFailsTogether => *failed,
                    _ => self.commit_one(unit).await?,
                };
                outcomes.push(outcome);
            }
            Ok(outcomes)
        })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        Box::pin(async move { self.inner.load(service, &key).await })
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        self.inner.scan(service, table, after, limit)
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        self.inner.history(service, key, after)
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        self.inner.row(service, view, key)
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.inner.rows(service, query)
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.inner.journal(service, story)
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        self.inner.counters(service)
    }

    fn settled(&self, queue: Name, source: &str, id: MessageId) -> BoxFuture<'_, Result<bool>> {
        self.inner.settled(queue, source, id)
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        self.inner.claim_due(services, now, lease, limit)
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        self.inner.next_due(services)
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        self.inner.backlog(service, now)
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        self.inner.retain(now)
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        self.inner.outbox()
    }
}

struct Broken(OnDisk, Breach);

impl Fixture for Broken {
    fn open(&self) -> BoxFuture<'_, Opened> {
        Box::pin(async {
            let Opened { store, transport } = self.0.open().await;
            let (inner, breach) = (store, self.1);
            let store = Arc::new(BrokenStore { inner, breach });
            Opened { store, transport }
        })
    }

    fn runtime(&self) -> SharedRuntime {
        self.0.runtime()
    }

    fn number<'a>(&'a self, query: &'a str) -> BoxFuture<'a, i64> {
        self.0.number(query)
    }
}

fn run(breach: Breach, test: Test) {
    let broken = Broken(OnDisk::new(TokioRuntime::new()), breach);
    block_on(async move { test(Arc::new(broken)).await });
}

macro_rules! caught {
    ($($name:ident: $breach:ident is caught by $test:ident;)*) => {
        $(
            #[test]
            #[should_panic]
            fn $name() {
                run(Breach::$breach, |fixture| Box::pin(suite::$test(fixture)));
            }
        )*
    };
}

caught! {
    a_store_that_ignores_expectations: ExpectationsIgnored
        is caught by an_unmet_expectation_rolls_back_the_unit;
    a_store_that_takes_what_is_not_there: ExpectationsIgnored
        is caught by statements_see_earlier_units_of_the_batch;
    a_store_that_forgets_statements: StatementsForgotten
        is caught by statements_take_effect_with_the_rest_of_the_unit;
    a_store_that_runs_statements_of_stale_units: StatementsBefore
        is caught by a_stale_unit_runs_no_statement;
    a_store_that_runs_statements_of_duplicates: StatementsBefore
        is caught by a_duplicate_delivery_runs_no_statement;
    a_store_that_runs_statements_afterwards: StatementsAfter
        is caught by an_unmet_expectation_rolls_back_the_unit;
    a_store_that_fails_whole_batches: BatchFailsTogether
        is caught by neighbours_of_an_unmet_unit_are_committed;
}
