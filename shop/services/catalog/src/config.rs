//! The settings of the service.

use std::time::Duration;

/// The settings of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest life of a cached read. It bounds how long a page that was loaded just before a
    /// change can be stale.
    pub cached_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cached_for: Duration::from_secs(2),
        }
    }
}
