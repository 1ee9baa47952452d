//! Commits units in batches.
//!
//! [`staging`] keeps units that build on one another in memory, without I/O. [`committer`] submits
//! batches of them to the store. [`refusals`] remembers writes that the store refused, so that
//! their readers run again. [`handover`] passes committed messages to the relay. [`wake`] wakes the
//! runner of due records.

mod committer;
mod handover;
mod refusals;
mod staging;
mod wake;

pub(crate) use committer::Committer;
pub(crate) use handover::{Busy, Handover};
pub(crate) use staging::Loaded;
