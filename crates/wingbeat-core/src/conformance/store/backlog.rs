//! The backlog.

use std::sync::Arc;
use std::time::Duration;

use crate::Unit;
use crate::conformance::{A_WHILE, Bench, Fixture, ORDERS, PLACED, STOCK, TABLE, put};
use crate::store::Backlog;
use crate::unit::{Outcome, Write};

const MINUTE: Duration = Duration::from_secs(60);

async fn backlog(bench: &Bench) -> Backlog {
    let backlog = bench.store.backlog(ORDERS, bench.now()).await;
    backlog.expect("the store can be read")
}

async fn set(bench: &Bench, writes: Vec<Write>) {
    let unit = Unit {
        writes,
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
}

/// The backlog counts pending and overdue records per table, and the age of the oldest.
pub async fn pending_and_overdue_records_are_counted_separately(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    assert_eq!(backlog(&bench).await, Backlog::default());
    let at = |id: &str, due_at| Write {
        due_at: Some(due_at),
        ..put(id, "timer")
    };
    let now = bench.now();
    let writes = [
        at("late", now - MINUTE),
        at("later", now - MINUTE - MINUTE),
        at("coming", now + MINUTE),
        put("never", "no timer"),
    ];
    set(&bench, writes.to_vec()).await;
    let due = backlog(&bench).await.due;
    assert_eq!(due.len(), 1, "{due:?}");
    assert_eq!((due[0].table, due[0].pending), (TABLE, 3));
    assert_eq!(due[0].overdue.count, 2);
    let age = due[0].overdue.age;
    assert!(age >= MINUTE + MINUTE - A_WHILE, "{age:?}");
    assert!(age < MINUTE + MINUTE + MINUTE, "{age:?}");

    let removed = |id: &str| Write {
        body: None,
        ..put(id, "")
    };
    set(&bench, vec![removed("late"), removed("later")]).await;
    let due = backlog(&bench).await.due;
    assert_eq!((due.len(), due[0].pending), (1, 1));
    assert_eq!(due[0].overdue, crate::store::Waiting::default());
}

/// The backlog of a service contains no records and messages of another.
pub async fn a_backlog_covers_only_its_own_service(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let theirs = Unit {
        service: STOCK,
        writes: vec![Write {
            due_at: Some(bench.now()),
            ..put("theirs", "timer")
        }],
        messages: bench.messages(PLACED, 2),
        ..bench.unit()
    };
    assert_eq!(bench.commit(theirs).await, Outcome::Committed);
    assert_eq!(backlog(&bench).await, Backlog::default());
}

/// The backlog counts unconfirmed messages and the age of the oldest. A store that is its own
/// broker reports none.
pub async fn unconfirmed_messages_are_part_of_the_backlog(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let sent = bench.messages(PLACED, 3);
    let unit = Unit {
        messages: sent.clone(),
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    let waits = if bench.store.outbox().is_some() { 3 } else { 0 };
    bench.runtime.sleep(A_WHILE).await;
    let outbox = backlog(&bench).await.outbox;
    assert_eq!(outbox.count, waits);
    if waits > 0 {
        assert!(outbox.age >= A_WHILE / 2, "{outbox:?}");
        assert!(outbox.age < MINUTE, "{outbox:?}");
    }
    bench.relay().await;
    assert_eq!(backlog(&bench).await, Backlog::default());
}
