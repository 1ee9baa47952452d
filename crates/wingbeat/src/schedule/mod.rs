//! Scheduled handlers: each run is due at a planned time and takes effect once per system.
//!
//! The plan of a schedule is a due record in its service's store, so replicas share it. The replica
//! that claims the record runs the handler. One unit contains the effects of the handler and the
//! next planned time, so a run that two replicas make takes effect once.
//!
//! - [`definition`]: the public description of a schedule.
//! - [`plan`] computes planned times.
//! - [`record`]: the stored state.
//! - [`keeper`] creates the records when a service starts, and pauses and resumes schedules.
//! - [`firing`] makes one run.
//! - [`polling`] runs handlers of each process, which no record plans.

mod definition;
mod firing;
mod keeper;
mod plan;
mod polling;
mod record;

pub use definition::{Missed, Schedule};
pub(crate) use firing::{Firing, Ongoing};
pub(crate) use keeper::Keeper;
pub use keeper::ScheduleStatus;
pub(crate) use plan::Plan;
pub(crate) use polling::{Polling, poll};
pub(crate) use record::{SCHEDULES, STORED};

use crate::handler::Scheduled;

/// A scheduled handler as a service registers it.
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) schedule: Schedule,
    pub(crate) run: Scheduled,
}
