//! The settings of the service.

/// The settings of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most stars of a rating.
    pub stars_max: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { stars_max: 5 }
    }
}
