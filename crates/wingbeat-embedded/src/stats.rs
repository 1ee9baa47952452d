//! Statistics of the writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Statistics of the writer since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of committed transactions.
    pub commits: u64,
    /// Number of units and published messages that were processed.
    pub units: u64,
    /// Number of fsyncs of the log: one per commit. Checkpoints add about one per 4,000 pages.
    pub fsyncs: u64,
    /// Size of the largest batch.
    pub batch_max: u64,
    /// Histogram of batch sizes: 1, 2 to 3, 4 to 7, … units.
    pub batches: [u64; BUCKETS],
    /// Total duration of transactions.
    pub busy: Duration,
}

/// Buckets for the powers of two up to 2^15.
const BUCKETS: usize = 16;

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    units: AtomicU64,
    batch_max: AtomicU64,
    batches: [AtomicU64; BUCKETS],
    busy_nanos: AtomicU64,
}

impl Counters {
    /// Counts a transaction of `units` that took `time`. `written` is `false` if it wrote nothing.
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

    /// Returns the current values.
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
