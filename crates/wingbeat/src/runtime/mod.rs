//! The machine's clock, randomness and tasks behind the runtime's port, and what runs beside the
//! services.

mod control;
mod real;
mod sweep;

pub use control::Control;
pub use real::{TaskGroup, TokioRuntime};
pub(crate) use sweep::sweep;
