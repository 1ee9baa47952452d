//! The shop's services together, in the model, under the seeded executor.

mod bank;
mod checkout;
mod real;
mod world;
