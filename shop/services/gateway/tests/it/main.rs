//! The gateway's tests.

mod fake;
mod proxy;
mod storefront;
mod world;
