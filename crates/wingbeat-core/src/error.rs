//! Failures, classed by what the runtime should do about them.

use std::fmt;

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The same attempt may succeed later: try again with back-off, then park.
    Retry,
    /// No attempt will succeed: a dead letter at once.
    Reject,
}

/// A failure of a handler, a store, a transport or a call. A business refusal is not an error.
pub struct Error {
    class: Class,
    code: &'static str,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result whose error is classed.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that another attempt may overcome.
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            class: Class::Retry,
            code,
            message: message.into(),
            source: None,
        }
    }

    /// A failure that no attempt will overcome.
    pub fn reject(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            class: Class::Reject,
            code,
            message: message.into(),
            source: None,
        }
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Retry or reject.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// A short, stable, machine-readable name such as `store_unavailable`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {self}", self.class, self.code)
    }
}

/// A typed failure that says whether to try again. Derive it: each variant is marked.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether to retry or to reject",
    note = "derive `Failure` on `{Self}` and mark each variant; a business refusal is not an error, return it as an event"
)]
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// Retry or reject.
    fn class(&self) -> Class;
    /// See [`Error::code`].
    fn code(&self) -> &'static str;
}

impl<E: Failure> From<E> for Error {
    fn from(failure: E) -> Self {
        Self {
            class: failure.class(),
            code: failure.code(),
            message: failure.to_string(),
            source: None,
        }
    }
}
