//! A limit of the log lines that others cause.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Limits the rate of the log lines of one cause: some at once, then one per interval.
#[derive(Debug)]
pub struct LogLimit {
    burst: u32,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u32,
    /// The time up to which lines were given back.
    until: Duration,
    suppressed: u64,
}

impl LogLimit {
    /// Creates a limit of `burst` lines at once and one per `every` afterwards.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            state: Mutex::new(State {
                used: 0,
                until: Duration::ZERO,
                suppressed: 0,
            }),
        }
    }

    /// Returns the number of lines that were suppressed since the last one, or `None` if this line
    /// is suppressed too. `now` is the time since any fixed moment.
    pub fn admit(&self, now: Duration) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_sub(state.until).as_nanos() / self.every.as_nanos().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= state.used {
            (state.used, state.until) = (0, now);
        } else {
            state.used -= passed;
            state.until += self.every * passed;
        }
        if state.used == self.burst {
            state.suppressed += 1;
            return None;
        }
        state.used += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

/// Limits the rate of the log lines of several kinds. Each kind has a [`LogLimit`] of its own, so
/// that a frequent kind does not suppress a rare one.
#[derive(Debug)]
pub struct LogLimits {
    burst: u32,
    every: Duration,
    kinds: Mutex<BTreeMap<&'static str, LogLimit>>,
}

/// The largest number of kinds. All further ones share a limit.
const KINDS_MAX: usize = 256;
/// The kind of those that share a limit.
const OTHERS: &str = "";

impl LogLimits {
    /// Creates a limit of `burst` lines at once and one per `every` afterwards, for each kind.
    #[must_use]
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            kinds: Mutex::new(BTreeMap::new()),
        }
    }

    /// Returns the number of lines of this kind that were suppressed since the last one, or `None`
    /// if this line is suppressed too. `now` is the time since any fixed moment.
    pub fn admit(&self, kind: &'static str, now: Duration) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = kinds.len() < KINDS_MAX || kinds.contains_key(kind);
        let kind = if is_known { kind } else { OTHERS };
        let limit = kinds.entry(kind);
        limit
            .or_insert_with(|| LogLimit::new(self.burst, self.every))
            .admit(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_line_per_interval() {
        let limit = LogLimit::new(3, Duration::from_secs(1));
        let at = |millis| limit.admit(Duration::from_millis(millis));
        let burst: Vec<_> = (0..5).map(|_| at(500)).collect();
        assert_eq!(burst, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(at(1_400), None);
        assert_eq!([at(1_600), at(1_700)], [Some(3), None]);
        let later: Vec<_> = (0..4).map(|_| at(60_000)).collect();
        assert_eq!(later, [Some(1), Some(0), Some(0), None]);
    }

    #[test]
    fn a_frequent_kind_does_not_suppress_a_rare_one() {
        let limits = LogLimits::new(1, Duration::from_secs(1));
        let at = |kind, millis| limits.admit(kind, Duration::from_millis(millis));
        assert_eq!([at("a", 0), at("a", 1), at("a", 2)], [Some(0), None, None]);
        assert_eq!([at("b", 3), at("b", 4)], [Some(0), None]);
        assert_eq!([at("a", 1_000), at("b", 1_003)], [Some(2), Some(1)]);
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let limits = LogLimits::new(1, Duration::from_secs(1));
        for number in 0..2 * KINDS_MAX {
            let kind = Box::leak(format!("kind {number}").into_boxed_str());
            let is_logged = limits.admit(kind, Duration::ZERO).is_some();
            assert_eq!(is_logged, number <= KINDS_MAX, "{number}");
        }
        assert_eq!(limits.kinds.lock().unwrap().len(), KINDS_MAX + 1);
    }
}
