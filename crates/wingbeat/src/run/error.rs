use std::net::SocketAddr;

use super::settings::SettingsError;

/// The reason why a program does not start, in one line without secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An address is in use, or does not belong to this machine.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// The collector's address is not valid.
    #[error("the setting `otlp`: {0}")]
    Collector(String),
    /// The operating system refuses signal handlers or threads.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// A service to run does not exist.
    #[error("there is no service {name:?}; there are: {known}")]
    UnknownService {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The address of a service that does not exist.
    #[error("{variable} names no service; there are: {known}")]
    UnknownUpstream {
        /// The variable with the address.
        variable: String,
        /// The names that exist.
        known: String,
    },
    /// Services that run in separate processes need servers.
    #[error("services in separate processes need --broker, --store and --cache")]
    NoServers,
    /// A requirement of the program itself.
    #[error("{0}")]
    Program(String),
    /// Several of these at once.
    #[error("{}", joined(.0))]
    Several(Vec<RunError>),
    /// The adapters or services do not start.
    #[error("{why}{page}", page = page(.why))]
    Services {
        /// The reason.
        why: crate::Error,
    },
}

impl RunError {
    /// Joins errors into one; `Ok` without any.
    pub(super) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.pop() {
            None => Ok(()),
            Some(only) if errors.is_empty() => Err(only),
            Some(last) => {
                errors.push(last);
                Err(Self::Several(errors))
            }
        }
    }

    /// Returns the command of the program that helps, in the words of the command line.
    pub(super) fn advice(&self, program: &str) -> String {
        match self {
            Self::Services { why } if why.code() == "store_not_migrated" => {
                format!("; run `{program} migrate`")
            }
            Self::Services { why } if why.code() == "store_not_granted" => {
                format!("; run `{program} migrate --grant-to ROLE`")
            }
            Self::Services { why } if why.code() == "topology_differs" => {
                format!("; run `{program} topology migrate`")
            }
            _ => String::new(),
        }
    }

    /// Returns whether the settings of the servers are wrong.
    pub(super) fn is_of_servers(&self) -> bool {
        matches!(self, Self::Settings(why) if why.is_of_servers())
    }
}

fn joined(errors: &[RunError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The page that explains the error's code.
fn page(why: &crate::Error) -> String {
    format!(" [{0}: docs/errors/{0}.md]", why.code())
}

impl From<crate::Error> for RunError {
    fn from(why: crate::Error) -> Self {
        Self::Services { why }
    }
}
