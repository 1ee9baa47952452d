//! Sagas: workflows across services, as pure steps from an input to effects.
//!
//! [`Saga`] has an example.

mod answers;
mod check;
mod count;
mod definition;
mod effects;
pub mod metric;
#[cfg(feature = "test")]
mod outline;
mod reads;
mod step;
mod testing;

pub use answers::{Accepts, AcceptsTimer, Answers};
pub use count::counted;
pub use definition::{Saga, SagaInput, SagaRow, Unexpected};
pub use effects::SagaEffects;
pub use step::{SagaRecord, table};

pub(crate) use check::SagaCheck;
#[cfg(feature = "test")]
pub(crate) use outline::{Outline, OutlineInput};
pub(crate) use step::handle;
#[cfg(feature = "host")]
pub(crate) use step::timer_key;
