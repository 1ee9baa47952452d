//! Stored times: microseconds. The time for the limits of log lines.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// SQL for the database's time in microseconds since the epoch. It is a subquery, so that
/// PostgreSQL evaluates it once per statement and can search an index with it.
pub(crate) const NOW: &str = "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";

/// Converts a duration to microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The moment from which [`log_clock`] counts.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time since a fixed moment, for the limits of log lines.
pub(crate) fn log_clock() -> Duration {
    STARTED.elapsed()
}
