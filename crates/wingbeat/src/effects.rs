//! What a handler asks for: returned as values, carried out by the runtime after the commit.

use bytes::Bytes;
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX};
use wingbeat_core::{Error, Kind, Message, MessageType, Result};

use crate::encode;

/// Messages and calls to be made once the unit is durable.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) calls: Vec<PlannedCall>,
}

/// A message that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) body: Bytes,
    pub(crate) sequence: Option<u64>,
    pub(crate) operation: Option<String>,
}

/// An outside call that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct PlannedCall {
    pub(crate) name: &'static str,
    pub(crate) operation: String,
    pub(crate) body: Bytes,
}

/// A message that tells what happened.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "derive `Event`; a command is sent, not published"
)]
pub trait EventMessage: Message {}

/// A message that asks its owner to act.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    note = "derive `Command`; an event is published, not sent"
)]
pub trait CommandMessage: Message {}

impl Effects {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes an event.
    pub fn publish<E: EventMessage>(&mut self, event: &E) -> &mut Self {
        self.message(event)
    }

    /// Publishes an event of an aggregate at this version.
    pub fn publish_at<E: EventMessage>(&mut self, sequence: u64, event: &E) -> &mut Self {
        self.message(event)
            .messages
            .last_mut()
            .expect("just added")
            .sequence = Some(sequence);
        self
    }

    /// Sends a command.
    pub fn send<C: CommandMessage>(&mut self, command: &C) -> &mut Self {
        self.message(command)
    }

    /// Sends a command under an operation id, which a resend keeps.
    pub fn send_as<C: CommandMessage>(
        &mut self,
        operation: impl Into<String>,
        command: &C,
    ) -> &mut Self {
        self.message(command)
            .messages
            .last_mut()
            .expect("just added")
            .operation = Some(operation.into());
        self
    }

    /// These, unless one of the messages is larger than what travels: refused before anything is committed, for
    /// in the outbox nobody could help it any more.
    pub(crate) fn checked(self) -> Result<Self> {
        for message in &self.messages {
            let operation = message.operation.as_ref().map_or(0, String::len);
            let found = [
                ("body", message.body.len(), BODY_MAX),
                ("key", message.key.len(), KEY_MAX),
                ("operation id", operation, KEY_MAX),
            ];
            if let Some((what, size, most)) = found.into_iter().find(|(_, size, most)| size > most)
            {
                let name = message.name;
                let text =
                    format!("the {what} of {name} has {size} bytes, and {most} at most may travel");
                return Err(Error::reject("message_too_large", text));
            }
        }
        Ok(self)
    }

    /// Sends or publishes a message.
    pub fn message<M: Message>(&mut self, message: &M) -> &mut Self {
        self.messages.push(Outgoing {
            name: M::NAME,
            kind: M::KIND,
            key: message.key(),
            body: encode(message),
            sequence: None,
            operation: None,
        });
        self
    }

    /// Adds all of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.messages.append(&mut other.messages);
        self.calls.append(&mut other.calls);
    }
}

/// What a handler may return inside its `Result`: messages, calls, [`Effects`], and combinations.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "this is what the handler returns",
    note = "return `()`, a message, a call, `Effects`, or an `Option`, `Vec`, `Either` or tuple of them"
)]
pub trait IntoEffects {
    /// Adds itself to `effects`.
    fn into_effects(self, effects: &mut Effects);

    /// Adds the types of the messages that a value of this type may contain to `types`.
    /// [`Effects`] can contain any message and adds none.
    fn describe(_types: &mut Vec<MessageType>) {}
}

/// One or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<L, R> {
    /// The first.
    Left(L),
    /// The second.
    Right(R),
}

impl IntoEffects for () {
    fn into_effects(self, _effects: &mut Effects) {}
}

impl IntoEffects for Effects {
    fn into_effects(self, effects: &mut Effects) {
        effects.append(self);
    }
}

impl<T: IntoEffects> IntoEffects for Option<T> {
    fn into_effects(self, effects: &mut Effects) {
        if let Some(one) = self {
            one.into_effects(effects);
        }
    }

    fn describe(types: &mut Vec<MessageType>) {
        T::describe(types);
    }
}

impl<T: IntoEffects> IntoEffects for Vec<T> {
    fn into_effects(self, effects: &mut Effects) {
        for one in self {
            one.into_effects(effects);
        }
    }

    fn describe(types: &mut Vec<MessageType>) {
        T::describe(types);
    }
}

impl<L: IntoEffects, R: IntoEffects> IntoEffects for Either<L, R> {
    fn into_effects(self, effects: &mut Effects) {
        match self {
            Self::Left(left) => left.into_effects(effects),
            Self::Right(right) => right.into_effects(effects),
        }
    }

    fn describe(types: &mut Vec<MessageType>) {
        L::describe(types);
        R::describe(types);
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: IntoEffects),+> IntoEffects for ($($name,)+) {
            #[allow(non_snake_case, reason = "one variable a type parameter")]
            fn into_effects(self, effects: &mut Effects) {
                let ($($name,)+) = self;
                $($name.into_effects(effects);)+
            }

            fn describe(types: &mut Vec<MessageType>) {
                $($name::describe(types);)+
            }
        }
    };
}
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);

/// The `Result` of a handler.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "this is what the handler returns",
    note = "return a `Result` of `()`, a message, a call, `Effects`, or an `Option`, `Vec`, `Either` or tuple of them"
)]
pub trait HandlerOutput {
    /// Adds what was asked for to `effects`, or tells the failure.
    ///
    /// # Errors
    ///
    /// The handler's own.
    fn record(self, effects: &mut Effects) -> Result<()>;

    /// Adds the types of the messages that the handler may return to `types`.
    fn describe(types: &mut Vec<MessageType>);
}

impl<T: IntoEffects, E: Into<Error>> HandlerOutput for Result<T, E> {
    fn record(self, effects: &mut Effects) -> Result<()> {
        self.map_err(Into::into)?.into_effects(effects);
        Ok(())
    }

    fn describe(types: &mut Vec<MessageType>) {
        T::describe(types);
    }
}
