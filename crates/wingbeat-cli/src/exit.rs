//! The exit codes of the program.

use std::process::ExitCode;

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and nothing is wrong.
    Fine = 0,
    /// 1: the command found something: a fault, a difference, a broken contract.
    Found = 1,
    /// 2: the command line is wrong, or something local cannot be read or written.
    Usage = 2,
    /// 3: a process did not answer, or could not answer.
    Unreachable = 3,
    /// 4: a process refused the request: the token is missing or wrong.
    Refused = 4,
    /// 5: the app has nothing of this name or id.
    Absent = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reason why a command ended early.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// The exit code.
    pub exit: Exit,
    /// One line about the reason.
    pub text: String,
}

impl Failed {
    /// Creates the reason.
    #[must_use]
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { exit, text }
    }

    /// Creates the reason for something local.
    #[must_use]
    pub fn local(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }
}
