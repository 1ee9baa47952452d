//! The shop: ten services, in one process or each in its own, behind one public port.
//!
//! - [`compose`]: settings, services, roles, routes: the shop as a program.
//! - [`across`]: features that combine services: timelines, the administrator's lists, the audit,
//!   the stand-ins.
//! - [`simulate`]: the whole shop in a deterministic simulation.
//! - [`users`]: the users of its processes on RabbitMQ, PostgreSQL and Redis.

pub mod across;
pub mod compose;
pub mod simulate;
pub mod users;

pub use compose::{Open, Settings, Shop, start};
