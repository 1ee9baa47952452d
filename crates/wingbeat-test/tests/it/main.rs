//! The whole runtime on the model, under the seeded executor.

mod transfers;
