//! The faults of the provider.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The switchable faults. All are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Each operation returns 503.
    pub outage: bool,
    /// The latency added to each operation, in milliseconds.
    pub latency_ms: u64,
    /// The share of operations that return 503 and have no effect.
    pub error_rate: f64,
    /// The share of authorizations that are declined.
    pub decline_rate: f64,
    /// The share of operations that are booked but close the connection instead of replying.
    pub lost_reply_rate: f64,
}

impl Faults {
    /// Returns whether all values are within bounds: rates from 0 to 1, and a latency of at most a
    /// minute.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let rates = [self.error_rate, self.decline_rate, self.lost_reply_rate];
        rates.iter().all(|rate| (0.0..=1.0).contains(rate)) && self.latency_ms <= 60_000
    }
}

/// The fate of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) wait_ms: u64,
    pub(crate) unavailable: bool,
    pub(crate) declined: bool,
    pub(crate) lose_reply: bool,
}

/// The switches, and the number of attempts of each operation with a misbehaving token. Both are
/// lost on a restart.
#[derive(Default)]
pub(crate) struct Chance {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    attempts: BTreeMap<(String, &'static str), u32>,
}

impl Chance {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> Faults {
        self.lock().faults
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Decides the fate of an operation on an order that is paid by `token`.
    pub(crate) fn fate(&self, order: &str, operation: &'static str, token: &str) -> Fate {
        let mut state = self.lock();
        let faults = state.faults;
        let mut fate = Fate {
            wait_ms: faults.latency_ms,
            unavailable: faults.outage || fastrand::f64() < faults.error_rate,
            declined: fastrand::f64() < faults.decline_rate,
            lose_reply: fastrand::f64() < faults.lost_reply_rate,
        };
        if fate.unavailable {
            return fate;
        }
        let times = match token {
            "tok_slow" | "tok_flaky" | "tok_lost_reply" => state
                .attempts
                .entry((order.to_owned(), operation))
                .or_default(),
            "tok_declined" => {
                fate.declined = true;
                return fate;
            }
            _ => return fate,
        };
        *times += 1;
        match token {
            "tok_slow" if *times == 1 => fate.wait_ms += 2_000,
            "tok_flaky" if *times <= 2 => fate.unavailable = true,
            "tok_lost_reply" if *times == 1 => fate.lose_reply = true,
            _ => {}
        }
        fate
    }
}
