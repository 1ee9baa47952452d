//! The kill switch of a subscription in one process: it counts failures, and reports when there are
//! too many.
//!
//! [`Pauses`](super::Pauses) turns the report into a pause in all processes. Later it lets one
//! process handle one delivery as a probe: the switch is half open then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wingbeat_core::runtime::SharedRuntime;

use crate::policy::KillSwitch;

/// The parts of the window. The oldest one is dropped as a whole.
const PARTS: u32 = 10;

/// A part of the window.
#[derive(Clone, Copy, Default)]
struct Part {
    number: u128,
    failed: u32,
    all: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Deliveries are handled.
    Closed,
    /// The subscription pauses, or is paused.
    Open,
    /// One delivery is handled as a probe, if none was started yet.
    HalfOpen { started: bool },
}

/// What happened, for all processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Too many deliveries have failed.
    Tripped(String),
    /// The probe was handled.
    Recovered,
    /// The probe has failed with this error.
    Failed(String),
}

struct State {
    mode: Mode,
    parts: VecDeque<Part>,
    report: Option<Report>,
}

/// The kill switch of a subscription in this process. Its partitions share it.
pub(crate) struct Switch {
    pub(super) policy: KillSwitch,
    runtime: SharedRuntime,
    state: Mutex<State>,
    /// Notified about a report.
    changed: Arc<Notify>,
}

impl Switch {
    pub(crate) fn new(policy: KillSwitch, runtime: SharedRuntime, changed: Arc<Notify>) -> Self {
        let state = State {
            mode: Mode::Closed,
            parts: VecDeque::new(),
            report: None,
        };
        Self {
            policy,
            runtime,
            state: Mutex::new(state),
            changed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts deliveries that were settled, each with the error if it has failed.
    pub(super) fn count(&self, settled: u32, error: Option<&str>) {
        let now = self.runtime.elapsed();
        let report = {
            let mut state = self.state();
            let report = match state.mode {
                Mode::Closed => {
                    let failed = if error.is_some() { settled } else { 0 };
                    state.add(self.part(now), failed, settled);
                    self.trips(&state, error)
                }
                Mode::HalfOpen { started: true } => Some(match error {
                    None => Report::Recovered,
                    Some(error) => Report::Failed(error.to_owned()),
                }),
                Mode::HalfOpen { started: false } | Mode::Open => None,
            };
            if let Some(report) = &report {
                let recovered = *report == Report::Recovered;
                state.mode = if recovered { Mode::Closed } else { Mode::Open };
                state.parts.clear();
                state.report = Some(report.clone());
            }
            report
        };
        if report.is_some() {
            self.changed.notify_one();
        }
    }

    /// Lets another delivery through as a probe: the one before it was released, repeated, or
    /// turned out to be settled.
    pub(super) fn pass_over(&self) {
        let mut state = self.state();
        if let Mode::HalfOpen { started } = &mut state.mode {
            *started = false;
        }
    }

    /// Returns the report if there are too many failures in the window.
    fn trips(&self, state: &State, error: Option<&str>) -> Option<Report> {
        let error = error?;
        let failed: u32 = state.parts.iter().map(|part| part.failed).sum();
        let all: u32 = state.parts.iter().map(|part| part.all).sum();
        let KillSwitch {
            failures,
            percent,
            within,
            ..
        } = self.policy;
        let share = u64::from(failed) * 100 >= u64::from(all) * u64::from(percent);
        (failed >= failures.max(1) && share).then(|| {
            let text =
                format!("{failed} of {all} deliveries failed within {within:?}; the last: {error}");
            Report::Tripped(text)
        })
    }

    fn part(&self, now: Duration) -> u128 {
        let length = (self.policy.within / PARTS).max(Duration::from_millis(1));
        now.as_nanos() / length.as_nanos()
    }

    /// Returns whether a run may start. During a probe, one may.
    pub(super) fn may_start(&self) -> bool {
        let mut state = self.state();
        match &mut state.mode {
            Mode::Closed => true,
            Mode::Open => false,
            Mode::HalfOpen { started } => !std::mem::replace(started, true),
        }
    }

    /// Returns whether no run may start.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(
            self.state().mode,
            Mode::Open | Mode::HalfOpen { started: true }
        )
    }

    /// Returns whether one delivery is, or will be, handled as a probe.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.state().mode, Mode::HalfOpen { .. })
    }

    /// Lets one delivery through, unless that was done before.
    pub(super) fn half_open(&self) {
        let mut state = self.state();
        if state.mode == Mode::Open {
            state.mode = Mode::HalfOpen { started: false };
        }
    }

    /// Lets nothing through until the subscription is resumed.
    pub(super) fn open(&self) {
        self.state().mode = Mode::Open;
    }

    /// Lets everything through and counts from zero, if the subscription was paused.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if state.mode != Mode::Closed && state.report.is_none() {
            state.mode = Mode::Closed;
            state.parts.clear();
        }
    }

    /// Takes the report that no process knows yet.
    pub(super) fn take_report(&self) -> Option<Report> {
        self.state().report.take()
    }

    /// Puts a report back that could not be stored.
    pub(super) fn put_back(&self, report: Report) {
        self.state().report.get_or_insert(report);
    }
}

impl State {
    fn add(&mut self, number: u128, failed: u32, all: u32) {
        let oldest = number.saturating_sub(u128::from(PARTS) - 1);
        self.parts.retain(|part| part.number >= oldest);
        if self.parts.back().is_none_or(|part| part.number != number) {
            self.parts.push_back(Part {
                number,
                ..Part::default()
            });
        }
        if let Some(part) = self.parts.back_mut() {
            part.failed += failed;
            part.all += all;
        }
    }
}
