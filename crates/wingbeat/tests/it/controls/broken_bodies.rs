//! Stores of large bodies that each break one promise.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::conformance::bodies::{self as suite, Fixture};
use wingbeat_core::{Bodies, Error, Result};

use crate::conformance::InModel;

/// The broken promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    DaysShared,
    SmallOnly,
    PutOnce,
    ReadsAll,
    SweepsAll,
    SweepsTooFew,
    SweepUnlimited,
}

struct BrokenBodies {
    inner: Arc<dyn Bodies>,
    breach: Breach,
}

impl BrokenBodies {
    fn place(&self, at: BodyRef) -> BodyRef {
        let day = match self.breach {
            Breach::DaysShared => 7,
            _ => at.day,
        };
        BodyRef { day, ..at }
    }
}

impl Bodies for BrokenBodies {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.prepare()
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let there = self.inner.get(at).await?.is_some();
            if there && self.breach == Breach::PutOnce {
                return Err(Error::reject("exists", "the body exists"));
            }
            let cut = match self.breach {
                Breach::SmallOnly => body.len().min(1 << 20),
                _ => body.len(),
            };
            self.inner.put(self.place(at), body.slice(..cut)).await
        })
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let size = match self.breach {
            Breach::ReadsAll => u64::MAX,
            _ => at.size,
        };
        self.inner.get(BodyRef {
            size,
            ..self.place(at)
        })
    }

    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>> {
        match self.breach {
            Breach::SweepsAll => self.inner.sweep(u32::MAX, limit),
            Breach::SweepsTooFew => self.inner.sweep(day.saturating_sub(1), limit),
            Breach::SweepUnlimited => self.inner.sweep(day, usize::MAX),
            _ => self.inner.sweep(day, limit),
        }
    }
}

struct Broken(InModel, Breach);

impl Fixture for Broken {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>> {
        Box::pin(async {
            let inner = Fixture::open(&self.0).await;
            let breach = self.1;
            Arc::new(BrokenBodies { inner, breach }) as Arc<dyn Bodies>
        })
    }
}

fn run(breach: Breach, test: suite::Test) {
    let fixture = Broken(InModel::new(0), breach);
    let world = fixture.0.simulation.clone();
    world.run(test(Arc::new(fixture)));
}

#[test]
#[should_panic]
fn a_store_that_ignores_days() {
    run(Breach::DaysShared, |fixture| {
        Box::pin(suite::an_absent_body_is_none(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_that_cuts_off_large_bodies() {
    run(Breach::SmallOnly, |fixture| {
        Box::pin(suite::every_process_gets_a_body_unchanged(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_that_refuses_a_second_put() {
    run(Breach::PutOnce, |fixture| {
        Box::pin(suite::a_body_that_is_there_stays_as_it_is(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_that_reads_more_than_the_reference_says() {
    run(Breach::ReadsAll, |fixture| {
        Box::pin(suite::a_longer_body_is_cut_off_after_one_byte(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_that_deletes_bodies_too_early() {
    run(Breach::SweepsAll, |fixture| {
        Box::pin(suite::a_sweep_deletes_the_bodies_of_earlier_days(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_that_keeps_bodies_too_long() {
    run(Breach::SweepsTooFew, |fixture| {
        Box::pin(suite::a_swept_body_can_be_put_again(fixture))
    });
}

#[test]
#[should_panic]
fn a_store_whose_sweeps_are_not_bounded() {
    run(Breach::SweepUnlimited, |fixture| {
        Box::pin(suite::a_sweep_deletes_at_most_its_limit(fixture))
    });
}
