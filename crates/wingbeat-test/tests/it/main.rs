//! The whole runtime on the model, under the seeded executor.

#[cfg(not(feature = "sabotage-no-inbox"))]
mod conformance;
#[cfg(not(feature = "sabotage-no-inbox"))]
mod controls;
mod crashes;
#[cfg(not(feature = "sabotage-no-inbox"))]
mod isolation;
mod suites;
mod transfers;
