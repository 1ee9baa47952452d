//! Message types.

use std::fmt;

use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::schema::{HasSchema, SchemaOf};

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
pub trait Message: Serialize + DeserializeOwned + HasSchema + Send + Sync + 'static {
    /// The wire type, `<service>.<name>.v<major>`.
    const NAME: &'static str;
    /// Event or command.
    const KIND: Kind;
    /// The message stays within its service. Documents for other services leave it out.
    const INTERNAL: bool = false;

    /// Messages with the same key are handled one at a time within a subscription.
    fn key(&self) -> String;

    /// Returns the JSON Schema of the message's data, with all definitions that it refers to.
    #[must_use]
    fn schema() -> Schema {
        Self::root_schema()
    }
}

/// A message type as data: its name, its kind and its schema, without a message.
#[derive(Clone, Copy)]
pub struct MessageType {
    /// The wire type, `<service>.<name>.v<major>`.
    pub name: &'static str,
    /// Event or command.
    pub kind: Kind,
    /// The message stays within its service.
    pub internal: bool,
    schema: SchemaOf,
}

impl MessageType {
    /// The type `M`.
    #[must_use]
    pub const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            kind: M::KIND,
            internal: M::INTERNAL,
            schema: SchemaOf::of::<M>(),
        }
    }

    /// Returns the type under another name. The runtime sends messages of one type under a name for
    /// each receiver.
    #[must_use]
    pub const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The service that owns the message: the first part of its name.
    #[must_use]
    pub fn owner(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(owner, _)| owner)
    }

    /// Returns the schema of the message's data. Schemas that it refers to become definitions of
    /// `generator`.
    #[must_use]
    pub fn schema_in(&self, generator: &mut SchemaGenerator) -> Schema {
        self.schema.schema_in(generator)
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
