//! Due records: timers, parked deliveries, outside calls, delayed messages and schedules.

mod calling;
mod delayed;
mod runner;

pub(crate) use runner::{DueQueue, DueRunner};
