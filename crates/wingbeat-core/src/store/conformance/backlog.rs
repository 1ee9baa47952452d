//! What waits, for those who watch.

use std::sync::Arc;
use std::time::Duration;

use crate::Unit;
use crate::conformance::{A_WHILE, Bench, Fixture, ORDERS, PLACED, STOCK, TABLE, put};
use crate::store::Backlog;
use crate::unit::{Outcome, Write};

const MINUTE: Duration = Duration::from_secs(60);

async fn backlog(bench: &Bench) -> Backlog {
    let told = bench.store.backlog(ORDERS, bench.now()).await;
    told.expect("the backlog is told")
}

async fn set(bench: &Bench, writes: Vec<Write>) {
    let unit = Unit {
        writes,
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
}

pub async fn what_is_due_is_told_apart_from_what_is_overdue(fixture: Arc<dyn Fixture>) {
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
    let told = backlog(&bench).await.due;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].table, told[0].pending), (TABLE, 3));
    assert_eq!(told[0].overdue.count, 2);
    let age = told[0].overdue.age;
    assert!(age >= MINUTE + MINUTE - A_WHILE, "{age:?}");
    assert!(age < MINUTE + MINUTE + MINUTE, "{age:?}");

    let removed = |id: &str| Write {
        body: None,
        ..put(id, "")
    };
    set(&bench, vec![removed("late"), removed("later")]).await;
    let told = backlog(&bench).await.due;
    assert_eq!((told.len(), told[0].pending), (1, 1));
    assert_eq!(told[0].overdue, crate::store::Waiting::default());
}

pub async fn a_backlog_tells_of_its_own_service_only(fixture: Arc<dyn Fixture>) {
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

/// A store that is its own broker has nothing that waits for one.
pub async fn messages_wait_until_they_are_confirmed(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let sent = bench.messages(PLACED, 3);
    let unit = Unit {
        messages: sent.clone(),
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    let waits = if bench.store.outbox().is_some() { 3 } else { 0 };
    bench.runtime.sleep(A_WHILE).await;
    let told = backlog(&bench).await.outbox;
    assert_eq!(told.count, waits);
    if waits > 0 {
        assert!(told.age >= A_WHILE / 2, "{told:?}");
        assert!(told.age < MINUTE, "{told:?}");
    }
    bench.relay().await;
    assert_eq!(backlog(&bench).await, Backlog::default());
}
