//! The gateway: the one public port of the shop.
//!
//! - [`edge`](mod@edge): sessions, security headers, refusals; before everything else.
//! - [`storefront`]: the pages people see, drawn from the same HTTP API that every client uses.
//! - [`proxy`]: to services that run elsewhere; [`routing`] says which, [`upstream`] protects us from them.

pub mod edge;
pub mod proxy;
pub mod routing;
pub mod storefront;
pub mod upstream;

pub use edge::{SERVICE, answered, edge, front, rules};
pub use proxy::Proxy;
pub use upstream::{Limits, Upstream};
