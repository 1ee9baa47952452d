//! The shop: ten services, in one process or each in its own, behind one public port.
//!
//! - [`compose`]: the shop as a program: its processes, their routes and their preparation.
//! - [`across`]: routes that combine services: timelines, the administrator's lists, the
//!   stand-ins.
//! - [`users`]: the users of its processes on RabbitMQ, PostgreSQL and Redis.
//!
//! The services as one system are the crate `shop-system`; the audit is `shop-audit`, the
//! simulation `shop-simulation`.

pub mod across;
pub mod compose;
pub mod users;

pub use compose::{Open, Shop, start};
