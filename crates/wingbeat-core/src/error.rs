//! Errors, classified by how the runtime reacts to them.

use std::error::Error as StdError;
use std::fmt;

/// The runtime's reaction to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A later attempt may succeed. The runtime retries with backoff, and parks the delivery when
    /// retries in memory take too long.
    Retry,
    /// No attempt can succeed. The runtime dead-letters the delivery.
    Reject,
}

/// An error of a handler, a store, a transport, a cache or an outside call.
///
/// An error has a [`Class`], a stable [`code`](Self::code) and a message of one line. A business
/// refusal is not an error: handlers return it as an event.
///
/// `Display` prints the message and its cause, separated by a colon. As in [`std::io::Error`],
/// [`source`](StdError::source) therefore returns the cause of the printed cause, so that a report
/// which walks the chain (`anyhow`'s `{:#}`) prints nothing twice.
/// [`downcast_ref`](Self::downcast_ref) returns the printed cause itself.
///
/// ```
/// use wingbeat_core::{Class, Error};
///
/// fn parse(text: &str) -> Result<u16, Error> {
///     let invalid = || Error::reject("port_invalid", format!("`{text}` is not a port"));
///     text.parse().map_err(|why| invalid().because(why))
/// }
///
/// let error = parse("http").expect_err("not a number");
/// assert_eq!((error.class(), error.code()), (Class::Reject, "port_invalid"));
/// assert_eq!(error.to_string(), "`http` is not a port: invalid digit found in string");
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
pub struct Error {
    class: Class,
    code: &'static str,
    text: Text,
}

type Cause = Box<dyn StdError + Send + Sync>;

/// What `Display` prints.
enum Text {
    Message(String),
    MessageAndCause(String, Cause),
    /// A typed failure, whose own text is the message.
    Failure(Cause),
}

/// A result whose error is classified.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error that a later attempt may overcome.
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Retry, code, message.into())
    }

    /// Creates an error that no attempt can overcome.
    pub fn reject(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Reject, code, message.into())
    }

    fn new(class: Class, code: &'static str, message: String) -> Self {
        let text = Text::Message(message);
        Self { class, code, text }
    }

    /// Adds the cause. A cause that was added before is replaced.
    #[must_use]
    pub fn because(self, cause: impl StdError + Send + Sync + 'static) -> Self {
        let message = match self.text {
            Text::Message(message) | Text::MessageAndCause(message, _) => message,
            Text::Failure(failure) => failure.to_string(),
        };
        let text = Text::MessageAndCause(message, Box::new(cause));
        Self { text, ..self }
    }

    /// Returns the class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns a stable, machine-readable name in snake case, such as `store_unavailable`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the failure that this error was converted from, or the cause given to
    /// [`because`](Self::because), if it has the type `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.cause()?.downcast_ref()
    }

    fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        match &self.text {
            Text::Message(_) => None,
            Text::MessageAndCause(_, cause) | Text::Failure(cause) => Some(&**cause),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Text::Message(message) => f.write_str(message),
            Text::MessageAndCause(message, cause) => write!(f, "{message}: {cause}"),
            Text::Failure(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {self}", self.class, self.code)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()?.source()
    }
}

/// A typed failure with a class and a code. Derive it on an error enum, and mark each variant.
///
/// Handlers return a failure with `?`, which converts it into an [`Error`].
///
/// ```
/// use wingbeat_core::{Class, Error, Failure};
///
/// // `#[derive(wingbeat::Failure)]` writes this implementation.
/// #[derive(Debug, thiserror::Error)]
/// enum Quote {
///     #[error("no price list is loaded")]
///     NoPriceList,
/// }
///
/// impl Failure for Quote {
///     fn class(&self) -> Class {
///         Class::Retry
///     }
///     fn code(&self) -> &'static str {
///         "no_price_list"
///     }
/// }
///
/// let error = Error::from(Quote::NoPriceList);
/// assert_eq!((error.class(), error.code()), (Class::Retry, "no_price_list"));
/// assert_eq!(error.to_string(), "no price list is loaded");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be converted into a Wingbeat error: it has no retry class",
    note = "derive `Failure` on `{Self}` and mark each variant `retry` or `reject`; a business refusal is not an error, return it as an event"
)]
pub trait Failure: StdError + Send + Sync + 'static {
    /// Returns the class.
    fn class(&self) -> Class;
    /// Returns the code; see [`Error::code`].
    fn code(&self) -> &'static str;
}

impl<E: Failure> From<E> for Error {
    fn from(failure: E) -> Self {
        Self {
            class: failure.class(),
            code: failure.code(),
            text: Text::Failure(Box::new(failure)),
        }
    }
}

/// Returns an error and its causes in one line, for errors of other crates, which print their own
/// text only. A text that ends with that of its cause is not continued by it.
///
/// ```
/// use wingbeat_core::causes;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("no price list")]
/// struct NoPriceList(#[source] std::num::ParseIntError);
///
/// let why = "x".parse::<u8>().expect_err("not a number");
/// assert_eq!(causes(&NoPriceList(why)), "no price list: invalid digit found in string");
/// ```
#[must_use]
pub fn causes(error: &(dyn StdError + 'static)) -> String {
    let chain = std::iter::successors(error.source(), |&error| error.source());
    let mut text = error.to_string();
    for cause in chain.map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the price list is outdated")]
    struct Outdated(#[source] std::num::ParseIntError);

    impl Failure for Outdated {
        fn class(&self) -> Class {
            Class::Reject
        }

        fn code(&self) -> &'static str {
            "outdated"
        }
    }

    fn no_number() -> std::num::ParseIntError {
        "x".parse::<u8>().expect_err("not a number")
    }

    fn quote() -> Result<()> {
        Err(Outdated(no_number()).into())
    }

    #[test]
    fn an_error_converts_into_anyhow() {
        fn report() -> anyhow::Result<()> {
            Ok(quote()?)
        }
        let error = report().expect_err("the list is outdated");
        let ours = error.downcast_ref::<Error>().expect("it is ours");
        assert_eq!(ours.code(), "outdated");
        assert_eq!(
            format!("{error:#}"),
            "the price list is outdated: invalid digit found in string",
            "the chain repeats nothing"
        );
    }

    #[test]
    fn a_failure_keeps_its_type_its_text_and_its_source() {
        let error = quote().expect_err("the list is outdated");
        assert_eq!(error.to_string(), "the price list is outdated");
        assert!(error.downcast_ref::<Outdated>().is_some());
        assert!(error.downcast_ref::<fmt::Error>().is_none());
        let source = error.source().expect("the failure has one");
        assert!(source.is::<std::num::ParseIntError>());
    }

    #[test]
    fn a_cause_is_printed_and_its_source_is_the_source() {
        let error = Error::retry("quote_failed", "no quote").because(Outdated(no_number()));
        assert_eq!(error.to_string(), "no quote: the price list is outdated");
        assert!(error.downcast_ref::<Outdated>().is_some());
        let source = error.source().expect("the cause has one");
        assert!(source.is::<std::num::ParseIntError>());
        let plain = Error::retry("quote_failed", "no quote");
        assert!(plain.source().is_none() && plain.downcast_ref::<Outdated>().is_none());
    }

    #[test]
    fn causes_are_in_one_line_and_repeat_nothing() {
        let expected = "the price list is outdated: invalid digit found in string";
        assert_eq!(causes(&Outdated(no_number())), expected);
        let ours = Error::retry("quote_failed", "no quote").because(Outdated(no_number()));
        assert_eq!(causes(&ours), format!("no quote: {expected}"));
        assert_eq!(causes(&no_number()), "invalid digit found in string");
    }

    #[test]
    fn a_failure_with_a_cause_keeps_its_class_and_its_text() {
        let error = quote()
            .expect_err("the list is outdated")
            .because(fmt::Error);
        assert_eq!((error.class(), error.code()), (Class::Reject, "outdated"));
        assert!(
            error
                .to_string()
                .starts_with("the price list is outdated: ")
        );
    }
}
