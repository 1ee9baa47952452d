//! Due records and retention.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::{A_WHILE, Bench, Fixture, LEASE, ORDERS, SERVICES, STOCK, put, read};
use crate::store::DueRecord;
use crate::unit::{Outcome, Write};
use crate::{Timestamp, Unit};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn timer(id: &str, due_at: Timestamp) -> Write {
    Write {
        due_at: Some(due_at),
        ..put(id, "timer")
    }
}

async fn set(bench: &Bench, writes: Vec<Write>) {
    assert_eq!(
        bench
            .commit(Unit {
                writes,
                ..bench.unit()
            })
            .await,
        Outcome::Committed
    );
}

async fn claim(bench: &Bench, limit: usize) -> Vec<DueRecord> {
    bench
        .store
        .claim_due(&SERVICES, bench.now(), LEASE, limit)
        .await
        .expect("the store can be read")
}

fn ids(claimed: &[DueRecord]) -> Vec<&str> {
    claimed.iter().map(|due| due.key.id.as_str()).collect()
}

/// `claim_due` returns due records with their version and content, the soonest first.
pub async fn only_due_records_are_claimed_soonest_first(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let now = bench.now();
    let ago = |seconds| now - Duration::from_secs(seconds);
    let due = [
        timer("b", ago(2)),
        timer("c", ago(1)),
        timer("later", now + HOUR),
        timer("a", ago(3)),
        put("never", ""),
    ];
    set(&bench, due.to_vec()).await;
    let claimed = claim(&bench, 10).await;
    assert_eq!(ids(&claimed), ["a", "b", "c"]);
    let first = &claimed[0];
    assert_eq!(
        (first.service, first.record.version, first.record.due_at),
        (ORDERS, 1, Some(ago(3)))
    );
    assert_eq!(first.record.body, "timer");
}

/// Two claims never return the same record while its lease lasts.
pub async fn a_claimed_record_is_not_claimed_twice(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(
        &bench,
        vec![timer("a", bench.now()), timer("b", bench.now())],
    )
    .await;
    let (one, two) = (claim(&bench, 1).await, claim(&bench, 10).await);
    let mut seen = [ids(&one), ids(&two)].concat();
    seen.sort_unstable();
    assert_eq!(seen, ["a", "b"]);
    assert_eq!(claim(&bench, 10).await, []);
}

/// A record whose holder died can be claimed once the lease has passed.
pub async fn a_claimed_record_can_be_claimed_again_after_its_lease(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(&bench, vec![timer("a", bench.now())]).await;
    assert_eq!(ids(&claim(&bench, 10).await), ["a"]);
    bench.runtime.sleep(LEASE + A_WHILE).await;
    assert_eq!(ids(&claim(&bench, 10).await), ["a"]);
}

/// Writing a record ends the lease on its earlier version.
pub async fn a_rewritten_record_can_be_claimed_at_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(&bench, vec![timer("a", bench.now())]).await;
    assert_eq!(ids(&claim(&bench, 10).await), ["a"]);
    set(&bench, vec![timer("a", bench.now())]).await;
    let claimed = claim(&bench, 10).await;
    assert_eq!(
        ids(&claimed),
        ["a"],
        "writing a record ends the lease on its earlier version"
    );
    assert_eq!(claimed[0].record.version, 2);
}

/// `claim_due` respects `limit` and `services`.
pub async fn claims_stay_within_their_limit_and_services(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let due = |n: u32| timer(&format!("t{n}"), bench.now());
    set(&bench, (0..5).map(due).collect()).await;
    let theirs = Unit {
        service: STOCK,
        writes: vec![timer("theirs", bench.now())],
        ..bench.unit()
    };
    assert_eq!(bench.commit(theirs).await, Outcome::Committed);
    let own = bench
        .store
        .claim_due(&[STOCK], bench.now(), LEASE, 10)
        .await
        .expect("the store can be read");
    assert_eq!((own.len(), own[0].service), (1, STOCK));
    assert_eq!(claim(&bench, 3).await.len(), 3);
    assert_eq!(claim(&bench, 3).await.len(), 2);
}

/// `next_due` ignores claimed records and records without a due time.
pub async fn next_due_is_the_soonest(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let next = async || {
        bench
            .store
            .next_due(&SERVICES)
            .await
            .expect("the store can be read")
    };
    assert_eq!(next().await, None);
    let (soon, late, past) = (bench.now() + HOUR, bench.now() + DAY, bench.now());
    set(&bench, vec![timer("late", late), put("never", "")]).await;
    assert_eq!(next().await, Some(late));
    set(&bench, vec![timer("soon", soon), timer("past", past)]).await;
    assert_eq!(next().await, Some(past));
    assert_eq!(ids(&claim(&bench, 10).await), ["past"]);
    assert_eq!(next().await, Some(soon), "a claimed record is not next");
    set(
        &bench,
        vec![Write {
            body: None,
            due_at: None,
            ..timer("soon", soon)
        }],
    )
    .await;
    assert_eq!(next().await, Some(late));
}

/// Of two units that fire the same timer, the second is stale.
pub async fn firing_twice_is_guarded_by_the_version(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(&bench, vec![timer("a", bench.now())]).await;
    let claimed = claim(&bench, 10).await;
    let fire = |into| {
        let removal = Write {
            body: None,
            due_at: None,
            ..put("a", "")
        };
        let reads = vec![read("a", claimed[0].record.version)];
        Unit {
            reads,
            writes: vec![removal, put(into, "fired")],
            ..bench.unit()
        }
    };
    assert_eq!(
        bench.commit_all(vec![fire("one"), fire("two")]).await,
        [Outcome::Committed, Outcome::Stale]
    );
    assert_eq!(bench.load("two").await, None);
}

/// A removed record, or one without a due time any more, is not claimed.
pub async fn a_removed_timer_never_fires(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(
        &bench,
        vec![timer("a", bench.now()), timer("b", bench.now())],
    )
    .await;
    set(
        &bench,
        vec![
            Write {
                body: None,
                due_at: None,
                ..put("a", "")
            },
            put("b", "no longer a timer"),
        ],
    )
    .await;
    assert_eq!(claim(&bench, 10).await, []);
    assert_eq!(
        bench
            .store
            .next_due(&SERVICES)
            .await
            .expect("the store can be read"),
        None
    );
}

/// Due records survive a restart, and a lease of the process before ends in time.
pub async fn due_records_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    set(
        &bench,
        vec![
            timer("claimed", bench.now()),
            timer("free", bench.now() + HOUR),
        ],
    )
    .await;
    assert_eq!(ids(&claim(&bench, 10).await), ["claimed"]);
    let bench = bench.reopen(&fixture).await;
    bench.runtime.sleep(LEASE + A_WHILE).await;
    assert_eq!(
        ids(&claim(&bench, 10).await),
        ["claimed"],
        "the lease of the earlier process has ended"
    );
    assert!(
        bench
            .load("free")
            .await
            .expect("the record exists")
            .due_at
            .is_some()
    );
}

async fn retain(bench: &Bench, now: Timestamp) -> u64 {
    let mut deleted = 0;
    for _ in 0..1000 {
        match bench
            .store
            .retain(now)
            .await
            .expect("expired rows can be deleted")
        {
            0 => return deleted,
            some => deleted += some,
        }
    }
    panic!("`retain` does not return zero in 1000 calls");
}

/// `retain` deletes records whose expiry has passed, and no others.
pub async fn expired_records_are_deleted(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let expiring = |id: &str, at| Write {
        expires_at: Some(at),
        ..put(id, "x")
    };
    let (past, future) = (bench.now() - HOUR, bench.now() + HOUR);
    set(
        &bench,
        vec![
            expiring("past", past),
            expiring("future", future),
            put("kept", "x"),
        ],
    )
    .await;
    assert!(retain(&bench, bench.now()).await >= 1);
    assert_eq!(bench.load("past").await, None);
    assert!(bench.load("future").await.is_some() && bench.load("kept").await.is_some());
    let absent = Unit {
        reads: vec![read("past", 0)],
        ..bench.unit()
    };
    assert_eq!(bench.commit(absent).await, Outcome::Committed);
}

/// A delivery is still known 29 days after it was settled.
pub async fn the_inbox_outlives_the_longest_replay(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let settles = bench.settlement();
    bench
        .commit(Unit {
            settles: vec![settles.clone()],
            ..bench.unit()
        })
        .await;
    retain(&bench, bench.now() + 29 * DAY).await;
    let again = Unit {
        settles: vec![settles],
        ..bench.unit()
    };
    assert_eq!(bench.commit(again).await, Outcome::Duplicate);
}
