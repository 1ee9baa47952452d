//! Derives the duration of each test from the order in which tests end.
//!
//! Stable libtest prints no times. It starts tests in the order of their names: as many as it has
//! threads, and the next one whenever one ends. So the end of a test is the start of another.

use std::collections::BTreeMap;
use std::time::Duration;

/// The number of tests that a test program runs at once: twice as many as there are processors,
/// since most tests wait for servers and processes.
pub(super) fn threads() -> usize {
    let asked = std::env::var("RUST_TEST_THREADS").ok();
    let asked = asked.and_then(|asked| asked.parse().ok());
    asked.unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(1, usize::from))
}

/// Returns the duration of each test. `ended` contains the tests and their end times, in that
/// order.
pub(super) fn times(ended: &[(Duration, String)], threads: usize) -> Vec<(&str, Duration)> {
    let ends: BTreeMap<&str, Duration> = ended
        .iter()
        .map(|(at, name)| (name.as_str(), *at))
        .collect();
    let waited = std::iter::repeat_n(Duration::ZERO, threads);
    let starts = waited.chain(ended.iter().map(|(at, _)| *at));
    ends.into_iter()
        .zip(starts)
        .map(|((name, end), start)| (name, end.saturating_sub(start)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(ended: &[(u64, &str)], threads: usize) -> Vec<(String, u64)> {
        let at = |(at, name): &(u64, &str)| (Duration::from_secs(*at), (*name).to_owned());
        let ended: Vec<_> = ended.iter().map(at).collect();
        let times = times(&ended, threads).into_iter();
        times
            .map(|(name, took)| (name.to_owned(), took.as_secs()))
            .collect()
    }

    #[test]
    fn with_one_thread_a_test_begins_when_the_one_before_ends() {
        let ended = [(1, "a"), (4, "b"), (5, "c")];
        let expected = [("a", 1), ("b", 3), ("c", 1)].map(|(name, took)| (name.into(), took));
        assert_eq!(seconds(&ended, 1), expected);
    }

    #[test]
    fn with_two_threads_a_test_begins_when_a_thread_is_free() {
        // a runs from 0 to 10; meanwhile b from 0 to 2, c from 2 to 5, d from 5 to 6.
        let ended = [(2, "b"), (5, "c"), (6, "d"), (10, "a")];
        let expected =
            [("a", 10), ("b", 2), ("c", 3), ("d", 1)].map(|(name, took)| (name.into(), took));
        assert_eq!(seconds(&ended, 2), expected);
    }
}
