//! The gateway's tests.

mod fake;
mod storefront;
