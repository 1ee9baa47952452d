//! The services of the shop as one system: the settings of all of them, and the
//! [`App`](wingbeat::App) that they make together. What runs this system is elsewhere: the program
//! in `shop/app`, and the simulation in `shop/simulation`.
//!
//! - [`settings`]: the settings of the shop, beside those of Wingbeat.
//! - [`roles`]: the names of the services, and the settings that a process with some of them needs.
//! - [`services`]: the services, configured from the settings.

pub mod settings;

pub mod roles;

pub mod services;

pub use settings::{Settings, ShopSettings};
