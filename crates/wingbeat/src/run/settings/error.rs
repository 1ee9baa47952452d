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
    #[error("--broker, --store and --cache go together; {missing} missing", missing = missing(.0))]
    Incomplete(Vec<&'static str>),
    /// A certificate or a key is set, and no server is connected with TLS.
    #[error(
        "{0} is set, but nothing is connected with TLS: write amqps, rediss, sslmode=verify-full or https"
    )]
    TlsUnused(String),
    /// A setting is set without another one that it needs.
    #[error("{origin} is set without {needs}")]
    Without {
        /// The flag, variable or key.
        origin: String,
        /// The missing flag.
        needs: &'static str,
    },
    /// A private key is on the command line.
    #[error("{0}: name a file; other users of the machine can read the command line")]
    SecretFlag(String),
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

impl SettingsError {
    /// The flag, variable or key that is wrong, if it is one.
    pub(super) fn origin(&self) -> Option<&str> {
        match self {
            Self::Invalid { origin, .. } | Self::InvalidSecret { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// Returns whether it is about one of the servers.
    pub(in crate::run) fn is_of_servers(&self) -> bool {
        match self {
            Self::Incomplete(_) => true,
            Self::Invalid { origin, .. }
            | Self::InvalidSecret { origin, .. }
            | Self::NotBuilt { origin, .. }
            | Self::NotUtf8(origin)
            | Self::File(origin, _) => [
                "--broker",
                "--store",
                "--cache",
                "WINGBEAT_BROKER",
                "WINGBEAT_STORE",
                "WINGBEAT_CACHE",
            ]
            .iter()
            .any(|server| origin.starts_with(server)),
            _ => false,
        }
    }
}

fn missing(flags: &[&str]) -> String {
    let verb = if flags.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", flags.join(" and "))
}
