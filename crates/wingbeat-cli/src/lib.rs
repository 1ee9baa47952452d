//! The command line of Wingbeat: `wingbeat`.
//!
//! It starts projects (`wingbeat new`) and operates running apps over the operator's API of their
//! processes (`/ops` on the operator's port): `doctor`, `graph`, `dead-letters`, `incidents`,
//! `subscriptions`, `targets`, `schedules`, `sagas`, `story`, `topology`, `contracts`.
//! `docs/command-line.md` describes them.
//!
//! - [`arguments`]: the commands and their options
//! - [`client`]: one process, asked over HTTP
//! - [`fleet`]: several processes, asked as one system
//! - [`doctor`]: what is wrong here and now
//! - [`exit`]: the exit codes
//!
//! The program is thin: each command asks, and prints a table or JSON. The decisions of `doctor`
//! are pure functions of the answers.

#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool that never runs in the simulation"
)]

pub mod arguments;
pub mod client;
mod contracts;
pub mod doctor;
pub mod exit;
pub mod fleet;
mod graph;
mod incidents;
mod letters;
mod limits;
mod lists;
mod output;
mod project;
mod replay;
mod run;
mod topology;

pub use run::main;
