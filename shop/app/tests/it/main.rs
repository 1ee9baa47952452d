//! The shop's services together, in the model, under the seeded executor.

mod checkout;
mod properties;
mod real;
mod sagas;
mod simulated;
mod world;
