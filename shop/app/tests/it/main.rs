//! The shop's services together, in the model, under the seeded executor; and the real shop, in both its shapes.

#![allow(
    clippy::duplicate_mod,
    reason = "the tests of the real shop run once in each shape"
)]

mod checkout;
mod properties;
mod real;
/// The same tests once more, each on RabbitMQ, PostgreSQL and Redis: see `real/place.rs`.
#[path = "real/mod.rs"]
mod real_on_servers;
mod sagas;
mod simulated;
mod world;
