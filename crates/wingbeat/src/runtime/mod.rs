//! Clock, randomness and tasks, behind the port [`Runtime`].
//!
//! Programs use [`TokioRuntime`]; tests and the simulation drive time themselves.

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
pub use wingbeat_core::runtime::{Runtime, RuntimeExt, SharedRuntime};
