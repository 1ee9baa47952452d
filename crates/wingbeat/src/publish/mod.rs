//! Publishes committed messages to the broker.

mod relay;
mod unroutable;

pub use unroutable::Unroutable;

pub(crate) use relay::{Relay, RelayEnd};
pub(crate) use unroutable::Unsent;
