//! Simulated months of traffic, to check that tables stop growing.
//!
//! An adapter that can measure its tables lets [`Traffic`] run for [`SETTLED`] days, measures, runs
//! until day [`LATER`], measures again, and expects that [`grown`] returns no table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::conformance::{Bench, Fixture, MOVED, STOCK_MOVED, put};
use crate::ids::uuid_v7;
use crate::runtime::{Runtime, SharedRuntime};
use crate::unit::{Journal, Row, RowWrite, Settled, Write};
use crate::{Consumer, Key, Name, RuntimeExt as _, Timestamp, Unit};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The day at which every kind of row has reached its retention, so that tables no longer grow.
pub const SETTLED: u64 = 100;
/// The day of the second measurement.
pub const LATER: u64 = 140;

/// A runtime whose clock a test advances by days. Everything else is the inner runtime.
pub struct Days {
    inner: SharedRuntime,
    ahead: AtomicI64,
}

impl Days {
    /// Creates a clock that shows the time of `inner`.
    #[must_use]
    pub fn new(inner: SharedRuntime) -> Arc<Self> {
        Arc::new(Self {
            inner,
            ahead: AtomicI64::new(0),
        })
    }

    fn advance(&self) {
        let day = i64::try_from(DAY.as_micros()).expect("a day fits into 64 bits");
        self.ahead.fetch_add(day, Ordering::SeqCst);
    }
}

impl Runtime for Days {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::SeqCst).unsigned_abs();
        self.inner.now() + Duration::from_micros(ahead)
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

/// Traffic of the same volume each day.
pub struct Traffic {
    bench: Bench,
    clock: Arc<Days>,
    consumer: Box<dyn Consumer>,
    units_a_day: usize,
    day: u64,
}

impl Traffic {
    /// Opens the fixture. Its runtime must be `clock`.
    pub async fn open(fixture: &Arc<dyn Fixture>, clock: Arc<Days>, units_a_day: usize) -> Self {
        let bench = Bench::open(fixture).await;
        Self {
            consumer: bench.consume(STOCK_MOVED, 500).await,
            bench,
            clock,
            units_a_day,
            day: 0,
        }
    }

    /// Runs one day of traffic, advances the clock, and deletes expired rows if `sweeps` is `true`.
    pub async fn day(&mut self, sweeps: bool) {
        let units: Vec<Unit> = (0..self.units_a_day).map(|n| self.unit(n)).collect();
        let bench = self.bench.clone();
        bench.commit_all(units).await;
        bench.relay().await;
        let deliveries = bench.take(&mut self.consumer, self.units_a_day).await;
        let tags: Vec<_> = deliveries.iter().map(|delivery| delivery.tag).collect();
        self.consumer.settler().acknowledge(&tags);
        self.clock.advance();
        self.day += 1;
        while sweeps
            && bench
                .store
                .retain(bench.now())
                .await
                .expect("expired rows can be deleted")
                > 0
        {}
    }

    /// Creates a unit with every kind of effect that leaves rows behind. It has no histories and no
    /// permanent records, since a store must keep those.
    fn unit(&self, n: usize) -> Unit {
        let bench = &self.bench;
        let timer = |day: u64| Key::new(Name::new("timers"), format!("{day}-{n}"));
        let mut unit = bench.unit();
        unit.settles = self.delivery(n);
        unit.writes = vec![
            Write {
                expires_at: Some(unit.at + 2 * DAY),
                ..put(&format!("reply-{}-{n}", self.day), "a stored reply")
            },
            Write {
                key: timer(self.day),
                due_at: Some(unit.at + 2 * DAY),
                ..put("", "a timer")
            },
        ];
        if let Some(yesterday) = self.day.checked_sub(1) {
            unit.writes.push(Write {
                key: timer(yesterday),
                body: None,
                due_at: None,
                expires_at: None,
            });
        }
        unit.rows = vec![RowWrite {
            view: Name::new("shelves"),
            key: format!("{}", n % 50),
            row: Some(Row {
                columns: vec![(Name::new("changed"), format!("{}-{n}", self.day))],
                body: Bytes::from_static(b"a shelf"),
            }),
        }];
        unit.messages = vec![bench.message(MOVED)];
        unit.journal = Some(Journal {
            correlation: self.story(n).into(),
            body: Bytes::from_static(b"[\"handled\"]"),
        });
        unit.counts = vec![(Name::new("handled"), 1)];
        unit
    }

    /// Returns a correlation id: of our own, random, or with a time far in the future. Strangers
    /// choose correlation ids.
    fn story(&self, n: usize) -> Uuid {
        let random = u128::from(self.bench.runtime.random());
        match n % 3 {
            0 => self.bench.runtime.id(),
            1 => Uuid::from_u128((random << 64) | (4 << 76) | random),
            _ => uuid_v7(Timestamp::MAX, self.bench.runtime.random()),
        }
    }

    /// Returns no delivery, one with a version-7 id, or one of a foreign publisher with a random
    /// id.
    fn delivery(&self, n: usize) -> Vec<Settled> {
        let settled = self.bench.settlement();
        let random = u128::from(self.bench.runtime.random());
        match n % 3 {
            0 => Vec::new(),
            1 => vec![settled],
            _ => vec![Settled {
                message: Uuid::from_u128((random << 64) | (4 << 76) | random).into(),
                ..settled
            }],
        }
    }
}

/// The number of rows and bytes per table.
pub type Sizes = BTreeMap<String, (i64, i64)>;

/// Returns the tables whose rows or bytes grew by more than an eighth and a fixed allowance.
#[must_use]
pub fn grown(before: &Sizes, after: &Sizes) -> Vec<String> {
    let grew = |before: i64, after: i64, slack: i64| after > before + before / 8 + slack;
    let mut grown = Vec::new();
    for (table, (rows, bytes)) in after {
        let (rows_before, bytes_before) = before.get(table).copied().unwrap_or_default();
        if grew(rows_before, *rows, 300) || grew(bytes_before, *bytes, 64 << 10) {
            grown.push(table.clone());
        }
    }
    grown
}
