//! A limit of the log lines that others cause.

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
}
