//! Settings.

use std::time::Duration;

/// How long reads are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest life of a cached read. It bounds how long a page that was loaded just before a change
    /// may still be shown.
    pub cached_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cached_for: Duration::from_secs(2),
        }
    }
}
