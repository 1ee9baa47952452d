//! The adapter behind the runtime's port (clock, randomness, tasks), and the sweep of expired data.

mod control;
mod real;
mod sweep;

pub use control::Control;
pub use real::{TaskGroup, TokioRuntime};
pub(crate) use sweep::sweep;
