//! Many units become durable in one step.
//!
//! [`staging`] holds units that build on one another, in memory and without I/O. [`committer`]
//! gives batches of them to the store. [`refusals`] remembers writes that the store refused, so
//! that their readers run again. [`handover`] passes committed messages to the relay. [`wake`]
//! wakes whoever waits for due records.

mod committer;
mod handover;
mod refusals;
mod staging;
mod wake;

pub(crate) use committer::Committer;
pub(crate) use handover::{Busy, Handover};
pub(crate) use staging::Loaded;
