//! Stores that change while they are read, and histories with a gap.

use std::sync::atomic::{AtomicBool, Ordering};

use wingbeat::ports::{Key, MessageId, Outbox, Record, Topology, Unit};
use wingbeat::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat::{BoxFuture, CorrelationId, Timestamp};
use wingbeat_core::unit::{Outcome, Row};

use super::*;

/// A store that loses one event, or in which something happens before a history is read.
struct Between {
    inner: Arc<dyn Store>,
    /// The number of an event that is missing from each history.
    lost: Option<u64>,
    /// Changes an account before its history is read, and a book before its row is read.
    changes: Option<Arc<wingbeat::ServiceContext>>,
    paid: AtomicBool,
    renamed: AtomicBool,
}

impl Between {
    fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            lost: None,
            changes: None,
            paid: AtomicBool::new(false),
            renamed: AtomicBool::new(false),
        }
    }

    /// Adds an event to an account, once.
    async fn pay(&self) {
        if let Some(service) = &self.changes
            && !self.paid.swap(true, Ordering::Relaxed)
        {
            let paid = run_unit(service, |scope: Scope| async move {
                let accounts = Repo::<Account>::of(&scope);
                let paid = accounts.execute(&"four".to_owned(), 7).await?;
                paid.expect("never refused");
                Ok::<(), Error>(())
            });
            paid.await.expect("it is stored");
        }
    }

    /// Changes the book whose row is read first.
    async fn rename(&self, book: &str) {
        if let Some(service) = &self.changes
            && !self.renamed.swap(true, Ordering::Relaxed)
        {
            let renamed = run_unit(service, |scope: Scope| async move {
                let title = "Changed".to_owned();
                Table::of(&scope).put(&book.to_owned(), Book::<false> { title })
            });
            renamed.await.expect("it is stored");
        }
    }
}

impl Store for Between {
    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        self.inner.load(service, key)
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

    fn history(&self, _: Name, _: &Key, _: u64) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        unreachable!("histories are read in pages")
    }

    fn history_page(
        &self,
        service: Name,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        Box::pin(async move {
            if key.id == "four" {
                self.pay().await;
            }
            let page = self.inner.history_page(service, &key, after, limit).await;
            let mut page = page?;
            page.retain(|event| Some(event.sequence) != self.lost);
            Ok(page)
        })
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        Box::pin(async move {
            self.rename(&key).await;
            self.inner.row(service, view, &key).await
        })
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        self.inner.rows(service, query)
    }

    fn prepare(&self, _: &[Name], _: &Topology) -> BoxFuture<'_, Result<()>> {
        unreachable!("nothing is prepared")
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        unreachable!("nobody asks")
    }

    fn commit(&self, _: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        unreachable!("a verification changes nothing")
    }

    fn journal(&self, _: Name, _: CorrelationId) -> BoxFuture<'_, Result<Vec<bytes::Bytes>>> {
        unreachable!("nobody asks")
    }

    fn counters(&self, _: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        unreachable!("nobody asks")
    }

    fn settled(&self, _: Name, _: &str, _: MessageId) -> BoxFuture<'_, Result<bool>> {
        unreachable!("nobody asks")
    }

    fn claim_due(
        &self,
        _: &[Name],
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        unreachable!("a verification claims nothing")
    }

    fn next_due(&self, _: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        unreachable!("nobody asks")
    }

    fn backlog(&self, _: Name, _: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        unreachable!("nobody asks")
    }

    fn retain(&self, _: Timestamp) -> BoxFuture<'_, Result<u64>> {
        unreachable!("a verification deletes nothing")
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        None
    }
}

#[test]
fn an_event_that_is_missing_from_a_history_is_found() {
    let filled = Filled::start();
    let store = Between {
        lost: Some(2),
        ..Between::new(filled.model.store.clone())
    };
    let seen = filled.simulation.run(verified(&library(), Arc::new(store)));
    let codes = |it: &Defect| (it.id.clone(), it.code, it.text.clone());
    let found: Vec<_> = seen.defects.iter().map(codes).collect();
    let missing = |id: &str| {
        (
            id.to_owned(),
            "history_gap",
            "event 2 is missing".to_owned(),
        )
    };
    assert_eq!(found, ["four", "one", "three", "two"].map(missing));
}

#[test]
fn a_record_that_changes_while_it_is_checked_is_no_defect() {
    let filled = Filled::start();
    let service = filled.running.service("library").expect("it runs");
    let store = Arc::new(Between {
        changes: Some(service),
        ..Between::new(filled.model.store.clone())
    });
    let system = library();
    let seen = filled.simulation.run(verified(&system, store.clone()));
    let changed = [&store.paid, &store.renamed].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(changed, [true, true]);
    assert_eq!(seen.defects, []);
}
