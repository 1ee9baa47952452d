//! The shop: its ten services, in one process or each by itself, behind one public port.
//!
//! - [`settings`]: flags, environment and `wingbeat.toml`. [`logs`]: what is told of it all.
//! - [`shop`](mod@shop): which services there are. [`host`]: how they run, one by one.
//! - [`cast`]: who plays in a process. [`backends`]: what it runs on.
//! - [`start`](mod@start): from settings to a shop that is open, and back.
//! - Routes that look across services: [`timeline`], [`admin`] with its [`lists`], [`audit`], [`dev`], [`docs`], [`ops`];
//!   in a gateway of its own: [`together`], [`onlooker`]. Before one process: [`ready`].

pub mod admin;
pub mod audit;
pub mod backends;
pub mod cast;
pub mod dev;
pub mod docs;
pub mod host;
pub mod lists;
pub mod logs;
pub mod onlooker;
mod onward;
pub mod ops;
mod prepare;
pub mod ready;
mod routes;
pub mod settings;
pub mod shop;
pub mod sight;
pub mod simulate;
pub mod start;
pub mod timeline;
pub mod together;

pub use cast::Cast;
pub use host::Host;
pub use settings::Settings;
pub use sight::Sight;
pub use start::{Open, open, provider, start};
