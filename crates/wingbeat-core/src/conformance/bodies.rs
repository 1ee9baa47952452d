//! The conformance suite of the [`Bodies`] port.
//!
//! `bodies_conformance!` turns each test into a `#[test]`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};

use crate::Bodies;
use crate::bodies::{BodyRef, STORED_MAX};

/// One test of the suite.
pub type Test = fn(Arc<dyn Fixture>) -> BoxFuture<'static, ()>;

/// The store of bodies under test, with data of its own. Each test has its own fixture.
pub trait Fixture: Send + Sync {
    /// Opens the store of this fixture, which is empty at the first call. Further calls stand for
    /// other processes, and for the same one after a restart.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>>;
}

/// Turns each test of the suite of bodies into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::bodies::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! bodies_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::bodies,
            [
                every_process_gets_a_body_unchanged,
                an_absent_body_is_none,
                a_body_that_is_there_stays_as_it_is,
                concurrent_puts_of_one_body_succeed,
                a_longer_body_is_cut_off_after_one_byte,
                a_sweep_deletes_the_bodies_of_earlier_days,
                a_sweep_deletes_at_most_its_limit,
                a_swept_body_can_be_put_again,
            ]
        );
    };
}

/// Opens the store and prepares it.
async fn open(fixture: &Arc<dyn Fixture>) -> Arc<dyn Bodies> {
    let bodies = fixture.open().await;
    bodies.prepare().await.expect("the place can be created");
    bodies
}

/// Returns the reference of the `number`th body of a day.
fn at(day: u32, number: u8, size: usize) -> BodyRef {
    BodyRef {
        day,
        size: size as u64,
        digest: [number; 32],
    }
}

async fn put(bodies: &Arc<dyn Bodies>, at: BodyRef, body: impl Into<Bytes>) {
    let put = bodies.put(at, body.into()).await;
    put.expect("the body can be stored");
}

async fn get(bodies: &Arc<dyn Bodies>, at: BodyRef) -> Option<Bytes> {
    bodies.get(at).await.expect("the store can be read")
}

async fn sweep(bodies: &Arc<dyn Bodies>, day: u32, limit: usize) -> usize {
    let swept = bodies.sweep(day, limit).await;
    swept.expect("bodies can be deleted")
}

/// `get` returns what was put, in all processes: also an empty body, bytes that are no text, and a
/// body of [`STORED_MAX`].
pub async fn every_process_gets_a_body_unchanged(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    let large: Vec<u8> = (0..STORED_MAX).map(|it| (it % 251) as u8).collect();
    let all = [
        (at(7, 1, 0), Bytes::new()),
        (at(7, 2, 4), Bytes::from_static(b"\0\xff\n{")),
        (at(7, 3, STORED_MAX), large.into()),
    ];
    for (at, body) in &all {
        put(&bodies, *at, body.clone()).await;
    }
    let other = open(&fixture).await;
    drop(bodies);
    for (at, body) in &all {
        assert!(get(&other, *at).await.as_ref() == Some(body), "{at:?}");
    }
}

/// `get` returns `None` for a body that was not put: neither the day nor the digest alone suffices.
pub async fn an_absent_body_is_none(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    assert_eq!(get(&bodies, at(7, 1, 1)).await, None);
    put(&bodies, at(7, 1, 1), "a").await;
    assert_eq!(get(&bodies, at(7, 2, 1)).await, None);
    assert_eq!(get(&bodies, at(8, 1, 1)).await, None);
    assert_eq!(get(&bodies, at(u32::MAX, 1, 1)).await, None);
}

/// A second `put` has no effect: attempts of a handler repeat it.
pub async fn a_body_that_is_there_stays_as_it_is(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    for _ in 0..3 {
        put(&bodies, at(7, 1, 3), "abc").await;
    }
    assert_eq!(get(&bodies, at(7, 1, 3)).await, Some("abc".into()));
    assert_eq!(sweep(&bodies, 8, 10).await, 1);
}

/// Processes that put the same body at the same time all succeed.
pub async fn concurrent_puts_of_one_body_succeed(fixture: Arc<dyn Fixture>) {
    let (one, other) = (open(&fixture).await, open(&fixture).await);
    let body = Bytes::from(vec![b'x'; 100_000]);
    let puts = (0..16).map(|number| {
        let bodies = if number % 2 == 0 { &one } else { &other };
        put(bodies, at(7, 1, 100_000), body.clone())
    });
    join_all(puts).await;
    assert!(get(&one, at(7, 1, 100_000)).await == Some(body));
    assert_eq!(sweep(&one, 8, 10).await, 1);
}

/// `get` reads no more than the reference says, and one byte.
pub async fn a_longer_body_is_cut_off_after_one_byte(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    put(&bodies, at(7, 1, 6), "abcdef").await;
    assert_eq!(get(&bodies, at(7, 1, 3)).await, Some("abcd".into()));
    assert_eq!(get(&bodies, at(7, 1, 9)).await, Some("abcdef".into()));
}

/// `sweep` deletes bodies of days before the given one, and no others.
pub async fn a_sweep_deletes_the_bodies_of_earlier_days(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    assert_eq!(sweep(&bodies, u32::MAX, 10).await, 0);
    for day in [0, 6, 7, 20_000, 20_001] {
        put(&bodies, at(day, 1, 1), "a").await;
    }
    assert_eq!(sweep(&bodies, 20_000, 10).await, 3);
    assert_eq!(sweep(&bodies, 20_000, 10).await, 0);
    for (day, kept) in [(0, false), (7, false), (20_000, true), (20_001, true)] {
        assert_eq!(get(&bodies, at(day, 1, 1)).await.is_some(), kept, "{day}");
    }
}

/// `sweep` deletes at most `limit` bodies, the oldest first, so that its work is bounded.
pub async fn a_sweep_deletes_at_most_its_limit(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    for number in 0..5 {
        put(&bodies, at(7, number, 1), "a").await;
        put(&bodies, at(8, number, 1), "a").await;
    }
    let mut deleted = Vec::new();
    for _ in 0..2 {
        deleted.push(sweep(&bodies, 9, 3).await);
    }
    assert_eq!(deleted, [3, 3]);
    let mut left = 0;
    for number in 0..5 {
        assert_eq!(get(&bodies, at(7, number, 1)).await, None);
        left += usize::from(get(&bodies, at(8, number, 1)).await.is_some());
    }
    assert_eq!(left, 4);
    assert_eq!(sweep(&bodies, 9, 10).await, 4);
    assert_eq!(sweep(&bodies, 9, 10).await, 0);
}

/// A day that was swept takes bodies again.
pub async fn a_swept_body_can_be_put_again(fixture: Arc<dyn Fixture>) {
    let bodies = open(&fixture).await;
    for _ in 0..2 {
        put(&bodies, at(7, 1, 1), "a").await;
        assert_eq!(get(&bodies, at(7, 1, 1)).await, Some("a".into()));
        assert_eq!(sweep(&bodies, 8, 10).await, 1);
        assert_eq!(get(&bodies, at(7, 1, 1)).await, None);
    }
}
