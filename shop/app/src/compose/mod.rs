//! The shop, composed: its settings, services, roles and routes, as a
//! [`Program`](wingbeat::Program).

mod prepare;
mod program;
pub mod roles;
mod routes;
pub mod services;
mod settings;

pub use program::{Open, Shared, Shop, start};
pub use settings::{Settings, ShopSettings};
