//! Commits units in batches.
//!
//! [`staging`] keeps units that build on one another in memory, without I/O. [`committer`] submits
//! batches of them to the store. [`refusals`] remembers writes that the store refused, so that
//! their readers run again. [`handover`] passes committed messages to the relay, and [`busy`] keeps
//! the order of each key. [`wake`] wakes the runner of due records.

mod busy;
mod committer;
mod handover;
mod refusals;
mod staging;
mod wake;

pub(crate) use busy::{Busy, key};
pub(crate) use committer::Committer;
pub(crate) use handover::Handover;
pub(crate) use staging::Loaded;
