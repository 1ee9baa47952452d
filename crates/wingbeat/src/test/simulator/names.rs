//! The names of gaps.

use wingbeat_core::Name;

/// The ways in which an attempt at a call can end.
pub(super) const CALL_OUTCOMES: [&str; 3] = ["answered", "retried", "gave_up"];

pub(super) fn fault(fault: &str) -> String {
    format!("fault {fault}")
}

pub(super) fn handler(queue: Name) -> String {
    format!("handler {queue}")
}

pub(super) fn schedule(service: Name, name: &str) -> String {
    format!("schedule {service}.{name}")
}

pub(super) fn call(call: &str, outcome: &str) -> String {
    format!("call {call} {outcome}")
}

pub(super) fn timer(saga: &str, message: &str) -> String {
    format!("timer {saga} {message}")
}

pub(super) fn input(saga: &str, message: &str) -> String {
    format!("saga {saga} {message}")
}

pub(super) fn transition(saga: &str, message: &str, state: &str) -> String {
    format!("saga {saga} {message} in {state}")
}
