//! `wingbeat doctor` against an app that runs here, with planted faults.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wingbeat::Name;
use wingbeat::store::{Backlog, DueBacklog, Waiting};
use wingbeat::transport::{Deviation, DeviationKind};

use crate::app::{Running, wingbeat};

fn book(number: u32) -> String {
    format!("book {number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_app_has_no_finding_and_exit_code_0() {
    let app = Running::start().await;
    app.lend([book(1)]).await;
    app.until(&[]).await;
    let (code, text) = app.wingbeat(&["doctor", "--interval", "0"]).await;
    assert_eq!((code, text.as_str()), (0, "Nothing is wrong.\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_fail_are_named_until_they_work_again() {
    let app = Running::start().await;
    for (fault, code) in [
        (&app.faults.store_down, "store_down"),
        (&app.faults.broker_down, "broker_down"),
        (&app.faults.cache_down, "cache_down"),
    ] {
        fault.store(true, Ordering::SeqCst);
        app.until(&[code]).await;
        fault.store(false, Ordering::SeqCst);
        app.until(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_a_wrong_clock_or_that_drains_is_named() {
    let app = Running::start().await;
    app.faults.clock_ahead.store(60, Ordering::SeqCst);
    app.until(&["clock_off"]).await;
    let (_, text) = app.wingbeat(&["doctor", "--interval", "0"]).await;
    assert!(
        text.contains("its clock is 59 s ahead") || text.contains("60 s ahead"),
        "{text}"
    );
    app.faults.clock_ahead.store(0, Ordering::SeqCst);
    app.readiness.close();
    app.until(&["not_ready"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scarce_resources_are_named() {
    let app = Running::start().await;
    app.faults.memory_percent.store(97, Ordering::SeqCst);
    app.until(&["overloaded"]).await;
    app.faults.memory_percent.store(10, Ordering::SeqCst);
    app.until(&[]).await;
    app.faults.disk_free.store(1 << 20, Ordering::SeqCst);
    app.until(&["disk_nearly_full"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_and_dead_letters_are_named_until_somebody_ends_them() {
    let app = Running::start().await;
    let control = async |arguments: &[&str]| {
        let (code, text) = app.wingbeat(arguments).await;
        assert_eq!(code, 0, "{text}");
    };
    control(&["subscriptions", "pause", "statistics.count"]).await;
    app.until(&["subscription_paused"]).await;
    control(&["subscriptions", "resume", "statistics.count"]).await;
    app.until(&[]).await;
    control(&["schedules", "pause", "library.report"]).await;
    app.until(&["schedule_paused"]).await;
    control(&["schedules", "resume", "library.report"]).await;
    app.until(&[]).await;
    app.lend(["Lost".into()]).await;
    app.until(&["dead_letters"]).await;
    let (_, letters) = app.json(&["dead-letters", "list"]).await;
    let id = letters["items"][0]["id"].as_str().expect("an id");
    control(&["dead-letters", "discard", id]).await;
    app.until(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_grows_and_one_that_nobody_consumes_are_named() {
    let app = Running::start().await;
    app.stick(true);
    let mut number = 0;
    let mut found = Vec::new();
    while !found.contains(&"lag_growing".to_owned()) {
        // Books arrive between the two looks, and none is counted.
        let lends = async {
            for _ in 0..20 {
                number += 1;
                app.lend((0..50).map(|it| book(1000 * number + it))).await;
            }
        };
        ((_, found), ()) = tokio::join!(app.doctor(), lends);
        assert!(number < 2000, "{found:?}");
    }
    app.stick(false);
    let app = Running::start_only(|service| service != "statistics").await;
    app.until(&["queue_without_consumer"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_at_its_rate_is_named() {
    let app = Running::start().await;
    app.lend((0..3).map(book)).await;
    app.until(&["rate_limited"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_is_named() {
    let app = Running::start().await;
    app.lend((0..3).map(|it| format!("Precious {it}"))).await;
    app.until(&["breaker_open", "rate_limited"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_waits_in_the_store_is_named() {
    let app = Running::start().await;
    let late = Waiting {
        count: 3,
        age: Duration::from_secs(90),
    };
    let due = |table: &'static str| Backlog {
        due: vec![DueBacklog {
            table: Name::new(table),
            pending: 3,
            overdue: late,
        }],
        ..Backlog::default()
    };
    let outbox = Backlog {
        outbox: late,
        ..Backlog::default()
    };
    for (backlog, code) in [
        (outbox, "outbox_stuck"),
        (due("wb.parked"), "parked_too_old"),
        (due("wb.timer"), "work_overdue"),
        (due("wb.waiting"), "old_version_waiting"),
    ] {
        *app.faults.backlog.lock().expect("no panic") = Some(backlog);
        app.until(&[code; 3]).await; // One for each service.
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_that_differ_are_named_and_shown_by_topology_plan() {
    let app = Running::start().await;
    let (code, text) = app.wingbeat(&["topology", "plan"]).await;
    assert_eq!(code, 0, "{text}");
    for (kind, found) in [
        (DeviationKind::Missing, "topology_wrong"),
        (
            DeviationKind::Changed("another type".into()),
            "topology_wrong",
        ),
        (DeviationKind::Migrating, "topology_wrong"),
        (DeviationKind::Orphaned, "queue_orphaned"),
    ] {
        *app.faults.deviations.lock().expect("no panic") = vec![Deviation {
            queue: "statistics.count".into(),
            kind,
            waiting: 2,
            consumers: 0,
        }];
        app.until(&[found]).await;
        let (code, text) = app.wingbeat(&["topology", "plan"]).await;
        assert!(code == 1 && text.contains("statistics.count"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_replica_and_a_process_that_is_away_are_named() {
    let app = Running::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}", closed.local_addr().expect("its address"));
    let doctor = ["doctor", "--interval", "0"];
    let both = format!("{},{closed}", app.url);
    let (code, text) = wingbeat(&both, &doctor).await;
    assert!(code == 1 && text.contains("replica_missing"), "{text}");
    let (code, text) = wingbeat(&closed, &doctor).await;
    assert!(code == 1 && text.contains("process_unreachable"), "{text}");
    let wanted = ["doctor", "--interval", "0", "--replicas", "mail=2"];
    let (code, text) = app.wingbeat(&wanted).await;
    assert!(
        code == 1 && text.contains("1 of 2 processes are ready"),
        "{text}"
    );
}
