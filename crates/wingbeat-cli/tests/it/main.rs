//! Tests of the command line: against recorded answers, and against apps that run here.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes: their clock is the machine's"
)]

mod app;
mod commands;
mod faulty;
mod planted;
mod recorded;

/// The project that `wingbeat new` writes: it compiles, and its test runs with these.
#[path = "../../templates/project/src/main.rs"]
#[allow(dead_code, reason = "its program is not started here")]
mod project;
