//! What the writer did.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counted since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that were committed.
    pub commits: u64,
    /// Units that were answered, published messages included.
    pub units: u64,
    /// Fsyncs of the log: one a commit. Checkpoints come on top, about one in 4,000 pages.
    pub fsyncs: u64,
    /// The largest batch.
    pub batch_max: u64,
    /// Batches of 1, 2 to 3, 4 to 7, … units.
    pub batches: [u64; BUCKETS],
    /// Time spent in transactions.
    pub busy: Duration,
}

/// Powers of two up to 2^15.
pub(crate) const BUCKETS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    units: AtomicU64,
    batch_max: AtomicU64,
    batches: [AtomicU64; BUCKETS],
    busy_nanos: AtomicU64,
}

impl Counters {
    /// A transaction of `units` took `time`; `written` unless there was nothing to write.
    pub(crate) fn batch(&self, units: usize, time: Duration, written: bool) {
        let count = units as u64;
        self.units.fetch_add(count, Ordering::Relaxed);
        self.busy_nanos.fetch_add(
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if written {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.batch_max.fetch_max(count, Ordering::Relaxed);
            let bucket = (count.max(1).ilog2() as usize).min(BUCKETS - 1);
            self.batches[bucket].fetch_add(1, Ordering::Relaxed);
            metrics::histogram!("wingbeat_store_commit_batch_size").record(units as f64);
            metrics::histogram!("wingbeat_store_commit_seconds").record(time.as_secs_f64());
        }
    }

    pub(crate) fn read(&self) -> Stats {
        let commits = self.commits.load(Ordering::Relaxed);
        Stats {
            commits,
            units: self.units.load(Ordering::Relaxed),
            fsyncs: commits,
            batch_max: self.batch_max.load(Ordering::Relaxed),
            batches: std::array::from_fn(|at| self.batches[at].load(Ordering::Relaxed)),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
        }
    }
}
