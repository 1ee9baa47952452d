//! Stored times: microseconds.

use std::time::Duration;

/// SQL for the database's time in microseconds since the epoch. It is a subquery, so that
/// PostgreSQL evaluates it once per statement and can search an index with it.
pub(crate) const NOW: &str = "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";

/// Converts a duration to microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
