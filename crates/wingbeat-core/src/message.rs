//! Message types.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The two kinds of messages: events and commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// States what happened, in the past tense. Any number of subscriptions receive it, or none.
    Event,
    /// Asks its owner to do something, in the imperative. Exactly one subscription receives it.
    Command,
}

/// A message: derive `Event` or `Command` rather than implementing this by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    note = "a handler's first argument is the message it subscribes to; derive `Event` or `Command` for it"
)]
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The wire type, `<service>.<name>.v<major>`.
    const NAME: &'static str;
    /// Event or command.
    const KIND: Kind;

    /// Messages with the same key are handled one at a time within a subscription.
    fn key(&self) -> String;
}
