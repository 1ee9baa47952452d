//! Effects: values that handlers return and that the runtime carries out after the commit.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;
use wingbeat_core::bodies::{BodyRef, STORED_MAX};
use wingbeat_core::envelope::{BODY_MAX, Limited, Unfit};
use wingbeat_core::{Dialog, Error, Kind, Message, MessageType, Result, Timestamp};

use crate::bodies::LargeBodies;
use crate::encode;

/// Messages to send and outside calls to make, in order.
///
/// A handler returns effects, alone or in a combination (see [`IntoEffects`]). The runtime records
/// them in the handler's unit of work and carries them out once the unit is durable. If the handler
/// fails, the runtime carries out none of them.
///
/// Most handlers return messages directly, so that the compiler knows their types and AsyncAPI
/// describes them. `Effects` is for handlers that decide at run time which messages they send.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "orders.order_placed", version = 1, key = order)]
/// struct OrderPlaced { order: u32 }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "inventory.reservation_started", version = 1, key = order)]
/// struct ReservationStarted { order: u32 }
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "inventory.reserve", version = 1, key = order)]
/// struct Reserve { order: u32 }
///
/// async fn start_reservation(event: OrderPlaced) -> Result<Effects> {
///     let mut effects = Effects::new();
///     effects
///         .send(&Reserve { order: event.order })
///         .publish(&ReservationStarted { order: event.order });
///     Ok(effects)
/// }
///
/// let inventory = Service::new("inventory").on(start_reservation);
/// # let inventory = inventory.on(|_: Reserve| async { Ok::<_, wingbeat::Error>(()) });
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(inventory));
/// # let order = uuid::Uuid::from_u128(7);
/// # app.publish(order, &OrderPlaced { order: 7 });
/// # app.until_idle();
/// # let entries = app.run(app.reads("inventory").timeline(order.into())).unwrap();
/// # let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
/// # assert_eq!(names, ["inventory.reserve.v1", "inventory.reservation_started.v1"]);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Effects {
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) calls: Vec<PlannedCall>,
    pub(crate) delayed: Vec<DelayedEffect>,
}

/// A change of the delayed messages.
#[derive(Clone, Debug)]
pub(crate) enum DelayedEffect {
    Send {
        id: String,
        delay: Duration,
        message: Outgoing,
    },
    Cancel {
        id: String,
    },
}

impl DelayedEffect {
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Send { id, .. } | Self::Cancel { id } => id,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) key: String,
    pub(crate) body: Bytes,
    pub(crate) sequence: Option<u64>,
    pub(crate) operation: Option<String>,
    /// Set if the message has an id of its own.
    pub(crate) stamp: Option<Stamp>,
    /// Its part in a request and its reply.
    pub(crate) dialog: Option<Dialog>,
    /// Set if the body is the reference to a stored one.
    pub(crate) stored: bool,
}

/// The identity of a message that comes from a history: the same each time it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) id: Uuid,
    pub(crate) at: Timestamp,
    /// The message repeats the past: it keeps its time and begins a story of its own.
    pub(crate) replayed: bool,
}

impl Outgoing {
    pub(crate) fn of<M: Message>(message: &M) -> Self {
        Self {
            name: M::NAME,
            kind: M::KIND,
            key: message.key(),
            body: encode(message),
            sequence: None,
            operation: None,
            stamp: None,
            dialog: None,
            stored: false,
        }
    }

    /// Returns whether the message repeats the past.
    pub(crate) fn is_replayed(&self) -> bool {
        self.stamp.is_some_and(|it| it.replayed)
    }

    /// Checks the limits of [`Envelope::check`](wingbeat_core::Envelope::check), with this one for
    /// the body.
    fn check(&self, body_max: usize) -> Result<(), Unfit> {
        let size = self.body.len();
        if size > body_max {
            return Err(Unfit::TooLarge {
                field: "body",
                size,
                limit: body_max,
            });
        }
        let limited = Limited {
            kind: self.name,
            source: "", // the service's name
            key: &self.key,
            operation: self.operation.as_deref().unwrap_or_default(),
            body: &[],
        };
        limited.check()
    }
}

/// An outside call to make.
#[derive(Clone, Debug)]
pub(crate) struct PlannedCall {
    pub(crate) name: &'static str,
    pub(crate) operation: String,
    pub(crate) body: Bytes,
}

/// A message that states what happened. Any number of subscriptions receive it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "derive `Event`; a command is sent, not published"
)]
pub trait EventMessage: Message {}

/// A message that asks its owner to act. Exactly one subscription receives it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    note = "derive `Command`; an event is published, not sent"
)]
pub trait CommandMessage: Message {}

impl Effects {
    /// Creates an empty set of effects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes an event.
    pub fn publish<E: EventMessage>(&mut self, event: &E) -> &mut Self {
        self.add(event)
    }

    /// Publishes an event with the version of the aggregate that caused it.
    ///
    /// Subscribers read the version as [`Meta::sequence`](crate::Meta::sequence). They need it to
    /// recognize an event that is older than the state they have.
    pub fn publish_at<E: EventMessage>(&mut self, sequence: u64, event: &E) -> &mut Self {
        self.messages.push(Outgoing {
            sequence: Some(sequence),
            ..Outgoing::of(event)
        });
        self
    }

    /// Sends a command.
    pub fn send<C: CommandMessage>(&mut self, command: &C) -> &mut Self {
        self.add(command)
    }

    /// Sends a command with an [operation id](crate::call#operation-ids).
    ///
    /// Use it for a command that the sender may send again under a new message id. The receiver
    /// reads the id as [`Meta::operation`](crate::Meta::operation) and recognizes the repetition.
    pub fn send_as<C: CommandMessage>(
        &mut self,
        operation: impl Into<String>,
        command: &C,
    ) -> &mut Self {
        self.messages.push(Outgoing {
            operation: Some(operation.into()),
            ..Outgoing::of(command)
        });
        self
    }

    /// Publishes an event after a delay.
    ///
    /// The service's store keeps the event until then, also over restarts. `id` identifies it
    /// within the service: [`cancel`](Self::cancel) takes it back, and a second delayed message
    /// with the same id replaces the first. The event gets its message id and time when it is
    /// published, and its correlation id now.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "carts.cart_filled", version = 1, key = cart)]
    /// # struct CartFilled { cart: String }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "carts.cart_bought", version = 1, key = cart)]
    /// # struct CartBought { cart: String }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "carts.cart_abandoned", version = 1, key = cart)]
    /// # struct CartAbandoned { cart: String }
    ///
    /// const DAY: Duration = Duration::from_secs(24 * 3600);
    ///
    /// async fn filled(CartFilled { cart }: CartFilled) -> Result<Effects> {
    ///     let mut effects = Effects::new();
    ///     effects.publish_after(format!("abandoned/{cart}"), DAY, &CartAbandoned { cart });
    ///     Ok(effects)
    /// }
    ///
    /// async fn bought(CartBought { cart }: CartBought) -> Result<Effects> {
    ///     let mut effects = Effects::new();
    ///     effects.cancel(format!("abandoned/{cart}"));
    ///     Ok(effects)
    /// }
    ///
    /// let carts = Service::new("carts").on(filled).on(bought).publishes::<CartAbandoned>();
    /// # #[cfg(feature = "test")]
    /// # {
    /// # use wingbeat::test::TestApp;
    /// # let app = TestApp::start(1, App::new().service(carts));
    /// # let story = uuid::Uuid::from_u128(7);
    /// # for cart in ["1", "2"] { app.publish(story, &CartFilled { cart: cart.into() }); }
    /// # app.pass(DAY / 2);
    /// # app.publish(uuid::Uuid::nil(), &CartBought { cart: "1".into() });
    /// # app.pass(DAY);
    /// # let entries = app.run(app.reads("carts").timeline(story.into())).unwrap();
    /// # let published = entries.iter().filter(|it| it.kind == "event").count();
    /// # assert_eq!(published, 1);
    /// # }
    /// ```
    pub fn publish_after<E: EventMessage>(
        &mut self,
        id: impl Into<String>,
        delay: Duration,
        event: &E,
    ) -> &mut Self {
        self.after(id.into(), delay, event)
    }

    /// Sends a command after a delay; see [`publish_after`](Self::publish_after).
    pub fn send_after<C: CommandMessage>(
        &mut self,
        id: impl Into<String>,
        delay: Duration,
        command: &C,
    ) -> &mut Self {
        self.after(id.into(), delay, command)
    }

    /// Cancels a delayed message of this service. Does nothing if there is none with this id: it
    /// was published or cancelled before.
    pub fn cancel(&mut self, id: impl Into<String>) -> &mut Self {
        self.delayed.push(DelayedEffect::Cancel { id: id.into() });
        self
    }

    fn after<M: Message>(&mut self, id: String, delay: Duration, message: &M) -> &mut Self {
        let message = Outgoing::of(message);
        self.delayed
            .push(DelayedEffect::Send { id, delay, message });
        self
    }

    /// Adds an event to publish or a command to send.
    pub fn add<M: Message>(&mut self, message: &M) -> &mut Self {
        self.messages.push(Outgoing::of(message));
        self
    }

    /// Adds all effects of `other` after these.
    pub fn append(&mut self, mut other: Self) {
        self.messages.append(&mut other.messages);
        self.calls.append(&mut other.calls);
        self.delayed.append(&mut other.delayed);
    }

    /// Returns `message_too_large` or `message_invalid` for a message that no envelope can carry.
    ///
    /// A later check could not help: once committed, the message would block the outbox. Bodies may
    /// be larger where the service stores them.
    pub(crate) fn within_limits(self, bodies: Option<&LargeBodies>) -> Result<Self> {
        let body_max = bodies.map_or(BODY_MAX, |_| STORED_MAX);
        let delayed = self.delayed.iter().filter_map(|it| match it {
            DelayedEffect::Send { message, .. } => Some(message),
            DelayedEffect::Cancel { .. } => None,
        });
        for message in self.messages.iter().chain(delayed) {
            if bodies.is_none() && !message.stored && BodyRef::of(&message.body).is_some() {
                return Err(no_store(message.name));
            }
            message.check(body_max).map_err(|unfit| {
                let code = match unfit {
                    Unfit::TooLarge { .. } => "message_too_large",
                    Unfit::ForbiddenCharacter { .. } => "message_invalid",
                };
                let advice = match unfit {
                    Unfit::TooLarge { field: "body", .. } if bodies.is_none() => {
                        "; larger bodies need a store of their own: see --bodies"
                    }
                    _ => "",
                };
                Error::reject(
                    code,
                    format!("cannot send {}: {unfit}{advice}", message.name),
                )
            })?;
        }
        Ok(self)
    }

    /// Returns the first body that must be stored before the messages are committed, with the delay
    /// of its message.
    pub(crate) fn next_body(&mut self, bodies: &LargeBodies) -> Option<(Bytes, Duration)> {
        let (delay, message) = self.next_large(bodies)?;
        Some((message.body.clone(), delay))
    }

    /// Replaces that body by the reference to the stored one.
    pub(crate) fn replace_body(&mut self, bodies: &LargeBodies, reference: Bytes) {
        if let Some((_, message)) = self.next_large(bodies) {
            message.body = reference;
            message.stored = true;
        }
    }

    fn next_large(&mut self, bodies: &LargeBodies) -> Option<(Duration, &mut Outgoing)> {
        let delayed = self.delayed.iter_mut().filter_map(|it| match it {
            DelayedEffect::Send { delay, message, .. } => Some((*delay, message)),
            DelayedEffect::Cancel { .. } => None,
        });
        let now = self.messages.iter_mut().map(|it| (Duration::ZERO, it));
        now.chain(delayed)
            .find(|(_, message)| !message.stored && bodies.takes(&message.body))
    }
}

/// Returns the error of a message that subscribers would take for a reference.
fn no_store(message: &str) -> Error {
    let text = format!(
        "cannot send {message}: its body has the form of a reference to a stored body, and this \
         process stores none: see --bodies"
    );
    Error::reject("message_invalid", text)
}

/// A value that a handler may return inside its `Result`.
///
/// Implemented for `()`, messages, calls, [`Effects`], and `Option`, `Vec`, [`Either`] and tuples
/// of them.
///
/// ```
/// use wingbeat::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "cinema.book", version = 1, key = show)]
/// # struct Book { show: u32, seats: Vec<u32> }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "cinema.seat_booked", version = 1, key = show)]
/// # struct SeatBooked { show: u32, seat: u32 }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "cinema.sold_out", version = 1, key = show)]
/// # struct SoldOut { show: u32 }
///
/// // One event per seat, and another one if the show is sold out.
/// async fn book(command: Book) -> Result<(Vec<SeatBooked>, Option<SoldOut>)> {
///     let show = command.show;
///     let booked = command.seats.into_iter().map(|seat| SeatBooked { show, seat }).collect();
///     Ok((booked, None))
/// }
/// # drop(Service::new("cinema").on(book));
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "this is what the handler returns",
    note = "return `()`, a message, a call, `Effects`, or an `Option`, `Vec`, `Either` or tuple of them"
)]
pub trait IntoEffects {
    /// Adds this value to `effects`.
    fn into_effects(self, effects: &mut Effects);

    /// Adds the types of the messages that a value of this type may contain to `types`.
    /// [`Effects`] can contain any message and adds none.
    fn describe(_types: &mut Vec<MessageType>) {}
}

/// One of two values, for handlers that answer with one of two messages.
///
/// ```
/// use wingbeat::{Either, Result};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "inventory.reserve", version = 1, key = sku)]
/// # struct Reserve { sku: String, count: u32 }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "inventory.reserved", version = 1, key = sku)]
/// # struct Reserved { sku: String }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "inventory.sold_out", version = 1, key = sku)]
/// # struct SoldOut { sku: String }
///
/// async fn reserve(Reserve { sku, count }: Reserve) -> Result<Either<Reserved, SoldOut>> {
///     if count <= 10 {
///         Ok(Either::Left(Reserved { sku }))
///     } else {
///         Ok(Either::Right(SoldOut { sku }))
///     }
/// }
/// # drop(wingbeat::Service::new("inventory").on(reserve));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<L, R> {
    /// A value of the first type.
    Left(L),
    /// A value of the second type.
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
            #[allow(non_snake_case, reason = "one variable per type parameter")]
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

/// The `Result` of a handler, with any [`IntoEffects`] value and any error that converts to
/// [`Error`]. Handlers need not name it.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "this is what the handler returns",
    note = "return a `Result` of `()`, a message, a call, `Effects`, or an `Option`, `Vec`, `Either` or tuple of them"
)]
pub trait HandlerOutput {
    /// Adds the returned value to `effects`, or returns the error.
    ///
    /// # Errors
    ///
    /// The error that the handler returned.
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
