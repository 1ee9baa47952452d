//! What goes wrong at the provider.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Switchable faults; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Every operation answers 503.
    pub outage: bool,
    /// Milliseconds added to every operation.
    pub latency_ms: u64,
    /// Share of operations that answer 503 without acting.
    pub error_rate: f64,
    /// Share of authorizations that are declined.
    pub decline_rate: f64,
    /// Share of operations that act and then cut the connection.
    pub lost_reply_rate: f64,
}

impl Faults {
    /// Whether all values are in bounds: rates in 0 to 1, latency at most a minute.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let rates = [self.error_rate, self.decline_rate, self.lost_reply_rate];
        rates.iter().all(|rate| (0.0..=1.0).contains(rate)) && self.latency_ms <= 60_000
    }
}

/// What happens to one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) wait_ms: u64,
    pub(crate) unavailable: bool,
    pub(crate) declined: bool,
    pub(crate) lose_reply: bool,
}

/// The switches, and how often each token has misbehaved (forgotten on a restart).
#[derive(Default)]
pub(crate) struct Chance {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    misbehaved: BTreeMap<(String, &'static str), u32>,
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
                .misbehaved
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
