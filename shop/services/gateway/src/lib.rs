//! The gateway: the one public port of the shop.
//!
//! - [`edge`](mod@edge): sessions, security headers, refusals; before everything else.
//! - [`storefront`]: the pages people see, drawn from the same HTTP API that every client uses.

pub mod edge;
pub mod storefront;

pub use edge::edge;
