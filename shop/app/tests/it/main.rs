//! The shop's services together: on the model under the seeded executor, and as the real shop in
//! both its modes.

mod administration;
mod checkout;
mod contracts;
mod documents;
mod flash;
mod overload;
mod properties;
mod real;
mod sagas;
mod simulated;
mod world;
