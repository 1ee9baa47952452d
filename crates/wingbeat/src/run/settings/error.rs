/// A wrong setting, in one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value cannot be read.
    #[error("{origin}: {value:?} is not {expected}")]
    Invalid {
        /// The flag, variable or key.
        origin: String,
        /// Its value.
        value: String,
        /// The expected form.
        expected: String,
    },
    /// A secret value cannot be read.
    #[error("{origin} is not {expected}")]
    InvalidSecret {
        /// The variable.
        origin: String,
        /// The expected form.
        expected: String,
    },
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, String),
    /// A variable is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    /// One of the servers is set without the others.
    #[error("--broker, --store and --cache go together; {0} is missing")]
    Incomplete(&'static str),
    /// The program was built without the feature that the setting needs.
    #[error(
        "{origin}: this program was built without the feature `{feature}` [not_built: docs/errors/not_built.md]"
    )]
    NotBuilt {
        /// The flag, variable or key.
        origin: String,
        /// The feature of Wingbeat.
        feature: &'static str,
    },
    /// There is no such setting.
    #[error("{file} has no setting {key:?}; there are: {known}")]
    Unknown {
        /// The file.
        file: String,
        /// The unknown key.
        key: String,
        /// The known keys.
        known: String,
    },
    /// A setting that has no default is missing.
    #[error("{0} is missing")]
    Missing(String),
}
