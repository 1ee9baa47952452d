//! Sagas and their inputs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::{Kind, MessageType, Result};

use super::effects::SagaEffects;

/// A workflow across several services: it waits for messages and decides what happens next.
///
/// Steps are pure: they change the saga's state and record [`SagaEffects`]. The runtime loads the
/// saga by the key of the input, runs the step, and commits state, messages and timers together.
/// Tests need neither a store nor a runtime (`wingbeat::test::given_saga`).
/// [`Service::saga`](crate::Service::saga) registers a saga.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{Unexpected, Saga, SagaEffects, SagaInput};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Event, JsonSchema};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "rooms.room_held", version = 1, key = booking)]
/// # struct RoomHeld { booking: u32 }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "payments.paid", version = 1, key = booking)]
/// # struct Paid { booking: u32 }
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "bookings.payment_overdue", version = 1, key = booking)]
/// # struct Overdue { booking: u32 }
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "rooms.release", version = 1, key = booking)]
/// # struct Release { booking: u32 }
///
/// #[derive(SagaInput)]
/// enum Input {
///     #[saga(start)]
///     Held(RoomHeld),
///     Paid(Paid),
///     #[saga(timer)]
///     Overdue(Overdue),
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Payment;
///
/// impl Saga for Payment {
///     const NAME: &'static str = "payment";
///     type Input = Input;
///
///     fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
///         match input {
///             Input::Held(RoomHeld { booking }) => {
///                 effects.after(Duration::from_secs(900), &Overdue { booking })
///             }
///             Input::Paid(_) => effects.end(),
///             Input::Overdue(Overdue { booking }) => effects.send(&Release { booking }).end(),
///         };
///     }
///
///     fn unexpected(&mut self, reason: Unexpected, _: Input, effects: &mut SagaEffects<Input>) {
///         if reason == Unexpected::NotStarted {
///             effects.defer(); // the payment overtook the event that starts the saga
///         }
///     }
/// }
///
/// # #[cfg(feature = "test")]
/// # {
/// use wingbeat::test::given_saga;
///
/// given_saga::<Payment>([RoomHeld { booking: 1 }.into()])
///     .when(Overdue { booking: 1 }.into())
///     .then(["rooms.release.v1"])
///     .ends();
/// # }
/// ```
pub trait Saga: Serialize + DeserializeOwned + Default + Send + 'static {
    /// The name of the saga, its queue and its table. It is stored: keep it when you rename the
    /// type.
    const NAME: &'static str;
    /// The inputs: an enum with one variant per message, which derives `SagaInput`.
    type Input: SagaInput;

    /// The names of the states, for metrics and for the coverage of simulations.
    const STATES: &'static [&'static str] = &["running"];

    /// Returns the current state, one of [`STATES`](Self::STATES).
    fn state(&self) -> &'static str {
        "running"
    }

    /// Handles one input of a running saga. This includes the input that starts the saga.
    fn step(&mut self, input: Self::Input, effects: &mut SagaEffects<Self::Input>);

    /// Handles an input that arrives before the start or after the end of the saga.
    ///
    /// Replicas work concurrently, so an input can arrive before the one that starts the saga.
    /// [`SagaEffects::defer`] retries it later; an empty implementation discards it.
    fn unexpected(
        &mut self,
        reason: Unexpected,
        input: Self::Input,
        effects: &mut SagaEffects<Self::Input>,
    );
}

/// The reason why an input is unexpected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// The saga has not started.
    NotStarted,
    /// The saga has ended.
    Ended,
}

/// The inputs of a saga: derive it on an enum with one variant per message.
///
/// `#[saga(start)]` marks messages that start the saga, `#[saga(timer)]` messages that the saga
/// sends to itself with [`SagaEffects::after`]. See [`Saga`] for an example.
pub trait SagaInput: Sized + Send + 'static {
    /// One row per variant.
    const ROWS: &'static [SagaRow<Self>];
}

/// A message that is an input of a saga.
pub struct SagaRow<I> {
    /// The wire type.
    pub message: &'static str,
    /// The kind: event or command.
    pub kind: Kind,
    /// Set if the message starts the saga.
    pub starts: bool,
    /// Set if the message is a timer of the saga. Timers come from the store, not from a queue.
    pub timer: bool,
    /// The message type, with its schema.
    pub message_type: MessageType,
    /// Decodes a body into the saga's key and the input.
    pub decode: fn(&[u8]) -> Result<(String, I)>,
}
