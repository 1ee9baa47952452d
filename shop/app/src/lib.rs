//! The shop: its ten services on one set of ports, behind one public port.
//!
//! - [`settings`]: flags, environment and `wingbeat.toml`. [`logs`]: what is told of it all.
//! - [`shop`](mod@shop): which services there are. [`host`]: how they run, one by one.
//! - [`start`](mod@start): from settings to a shop that is open, and back.
//! - Routes that look across services: [`timeline`], [`admin`], [`audit`], [`dev`], [`docs`], [`ops`].

pub mod admin;
pub mod audit;
pub mod dev;
pub mod docs;
pub mod host;
pub mod logs;
pub mod ops;
pub mod settings;
pub mod shop;
pub mod sight;
pub mod simulate;
pub mod start;
pub mod timeline;

pub use host::Host;
pub use settings::Settings;
pub use sight::Sight;
pub use start::{Open, start};
