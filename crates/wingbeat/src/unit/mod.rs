//! One attempt at a unit of work: the data that it reads and the effects that it records.
//!
//! A [`Scope`] collects both while a handler runs. [`sealing`] turns it into a
//! [`Unit`](wingbeat_core::Unit). [`run`] repeats the attempt until its unit is durable.

mod bodies;
mod changes;
mod context;
mod draft;
mod entries;
mod meta;
mod records;
mod run;
mod scope;
mod sealing;
mod sql;

pub use context::ServiceContext;
pub(crate) use context::{Fold, Incomplete, Past, PastSaga, Projected, Projections, Published};
pub(crate) use draft::Mark;
pub use meta::Meta;
pub(crate) use meta::{REPLAYED, original_id};
pub use records::Entry;
pub use run::run_unit;
pub use scope::Scope;
pub use sql::Sql;

pub(crate) use changes::{At, Change, by_record, changes, is_change};
pub(crate) use entries::decode_entries;
pub(crate) use records::{
    CALLS, CallRecord, DELAYED, DelayedRecord, OwnTable, TIMERS, TimerRecord, counter, due, remove,
    text,
};
pub(crate) use run::{Attempt, Ended, back_off, run, run_with, within_lease};
