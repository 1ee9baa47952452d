//! The gateway: the one public port of the shop.
//!
//! - [`storefront`]: the pages people see, drawn from the same HTTP API that every client uses.

pub mod storefront;
