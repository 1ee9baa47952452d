//! The adapter behind the runtime's port (clock, randomness, tasks), the sweep of expired data, and
//! the share of the machine that connections may use.

mod control;
mod descriptors;
mod real;
mod sweep;

pub use control::Control;
pub(crate) use descriptors::Descriptors;
#[cfg(feature = "http")]
pub(crate) use real::log_clock;
pub use real::{TaskGroup, TokioRuntime};
pub(crate) use sweep::sweep;
