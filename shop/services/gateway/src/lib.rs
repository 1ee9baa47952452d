//! The gateway: the only public port of the shop.
//!
//! - [`edge`](mod@edge): the middleware of the public port.
//! - [`console`]: the operations console, for the administrator.
//! - [`storefront`]: the pages for people, rendered from the HTTP API that all clients use.
//! - [`routing`]: the choice of the service that answers a request. [`proxy`]: the reverse proxy.
//!   [`upstream`]: the replicas of a service, and the protection of the gateway from them.

pub mod console;
pub mod edge;
pub mod proxy;
pub mod routing;
pub mod storefront;
pub mod upstream;

pub use edge::{SERVICE, answered, edge, front, rules};
pub use proxy::Proxy;
pub use upstream::{Limits, Upstream};
