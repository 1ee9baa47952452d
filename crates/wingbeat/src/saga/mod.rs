//! Sagas: processes that span several services, as pure steps from an input to effects.
//!
//! [`Saga`] has an example.

mod answers;
mod count;
mod definition;
mod effects;
#[cfg(feature = "test")]
mod outline;
mod reads;
mod step;
mod testing;

pub use answers::{Accepts, AcceptsTimer, Answers};
pub use count::counted;
pub use definition::{Late, Saga, SagaInput, SagaRow, metric};
pub use effects::SagaEffects;
pub use step::{SagaRecord, table};

#[cfg(feature = "test")]
pub(crate) use outline::{Outline, OutlineInput};
pub(crate) use step::handle;
