//! Due records: timers, parked deliveries and outside calls.

mod calling;
mod runner;

pub(crate) use runner::{DueQueue, DueRunner};
