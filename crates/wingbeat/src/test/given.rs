//! Tests of aggregates and sagas as pure functions, without store, broker and time.

use std::fmt::Debug;

use crate::{Aggregate, Message, Saga, SagaEffects, Timestamp, decode};
use serde::de::DeserializeOwned;

/// Starts a test with an aggregate that has applied these events.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::{Aggregate, JsonSchema, schemars};
/// use wingbeat::test::given;
///
/// #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
/// struct Door {
///     open: bool,
/// }
///
/// impl Aggregate for Door {
///     const NAME: &'static str = "door";
///     type Id = String;
///     type Command = &'static str;
///     type Event = String;
///     type Error = &'static str;
///
///     fn decide(&self, command: &'static str) -> Result<Vec<String>, &'static str> {
///         match command {
///             "open" if self.open => Err("it is open"),
///             _ => Ok(vec!["opened".into()]),
///         }
///     }
///
///     fn apply(&mut self, _event: &String) {
///         self.open = true;
///     }
/// }
///
/// given::<Door>([]).when("open").then(["opened".to_owned()]);
/// given::<Door>(["opened".to_owned()]).when("open").refused("it is open");
/// ```
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    events.into_iter().for_each(|event| state.apply(&event));
    Given { state }
}

/// An aggregate under test; see [`given()`].
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// Passes a command to the aggregate.
    pub fn when(self, command: A::Command) -> Decided<A> {
        Decided {
            decision: self.state.decide(command),
        }
    }
}

/// The decision of an aggregate.
pub struct Decided<A: Aggregate> {
    decision: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> Decided<A> {
    /// Checks that the aggregate emits exactly these events.
    ///
    /// # Panics
    ///
    /// If it emits others, or refuses the command.
    pub fn then(self, events: impl IntoIterator<Item = A::Event>)
    where
        A::Event: PartialEq + Debug,
        A::Error: Debug,
    {
        let expected: Vec<A::Event> = events.into_iter().collect();
        assert_eq!(
            self.decision.expect("the aggregate refuses the command"),
            expected
        );
    }

    /// Checks that the aggregate refuses the command with this error.
    ///
    /// # Panics
    ///
    /// If it accepts the command, or refuses it with another error.
    pub fn refused(self, error: A::Error)
    where
        A::Event: Debug,
        A::Error: PartialEq + Debug,
    {
        assert_eq!(
            self.decision
                .expect_err("the aggregate accepts the command"),
            error
        );
    }
}

/// Starts a test with a saga that has handled these inputs.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::test::given_saga;
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "rooms.booked", version = 1, key = room)]
/// struct Booked {
///     room: String,
/// }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "rooms.expired", version = 1, key = room)]
/// struct Expired {
///     room: String,
/// }
///
/// #[derive(SagaInput)]
/// enum Input {
///     #[saga(start)]
///     Booked(Booked),
///     #[saga(timer)]
///     Expired(Expired),
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Hold;
///
/// impl Saga for Hold {
///     const NAME: &'static str = "hold";
///     type Input = Input;
///
///     fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
///         match input {
///             Input::Booked(it) => {
///                 effects.after(Duration::from_secs(60), &Expired { room: it.room })
///             }
///             Input::Expired(expired) => effects.publish(&expired).end(),
///         };
///     }
///
///     fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
/// }
///
/// let booked = || Input::Booked(Booked { room: "7".into() });
/// let expired = Input::Expired(Expired { room: "7".into() });
/// given_saga::<Hold>([]).when(booked()).sets(["rooms.expired.v1"]);
/// given_saga::<Hold>([booked()]).when(expired).then(["rooms.expired.v1"]).ends();
/// ```
///
/// # Panics
///
/// If it defers one of them.
pub fn given_saga<S: Saga>(inputs: impl IntoIterator<Item = S::Input>) -> GivenSaga<S> {
    let mut saga = S::default();
    for input in inputs {
        let mut effects = SagaEffects::at(Timestamp::default());
        saga.step(input, &mut effects);
        assert!(
            !effects.is_deferred(),
            "the saga defers an input of `given_saga`"
        );
    }
    GivenSaga { saga }
}

/// A saga under test; see [`given_saga`].
pub struct GivenSaga<S> {
    saga: S,
}

impl<S: Saga> GivenSaga<S> {
    /// Passes an input to the saga.
    pub fn when(mut self, input: S::Input) -> Stepped<S> {
        let mut effects = SagaEffects::at(Timestamp::default());
        self.saga.step(input, &mut effects);
        Stepped {
            saga: self.saga,
            effects,
        }
    }
}

/// The message of a check that fails because the saga has deferred its input.
const DEFERRED: &str = "the saga defers the input, so it has no effects";

/// A saga after an input, and the effects of the step.
pub struct Stepped<S: Saga> {
    /// Its state.
    pub saga: S,
    effects: SagaEffects<S::Input>,
}

impl<S: Saga> Stepped<S> {
    /// Checks that the saga sends and publishes exactly these wire types, in this order.
    ///
    /// # Panics
    ///
    /// If it sends or publishes others, or defers the input.
    pub fn then(self, messages: impl IntoIterator<Item = &'static str>) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        let expected: Vec<&str> = messages.into_iter().collect();
        assert_eq!(self.effects.messages(), expected);
        self
    }

    /// Returns the message of this type that the saga sends or publishes.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn message<M: Message + DeserializeOwned>(&self) -> M {
        let body = self.effects.body(M::NAME);
        let body =
            body.unwrap_or_else(|| panic!("the saga neither sends nor publishes {}", M::NAME));
        decode(body).expect("an encoded message can be decoded")
    }

    /// Checks that the saga sets exactly these timers, by their wire types.
    ///
    /// # Panics
    ///
    /// If it sets others, or defers the input.
    pub fn sets(self, timers: impl IntoIterator<Item = &'static str>) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        let expected: Vec<&str> = timers.into_iter().collect();
        assert_eq!(self.effects.timers(), expected);
        self
    }

    /// Checks that the saga has ended.
    ///
    /// # Panics
    ///
    /// If it has not, or defers the input.
    pub fn ends(self) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        assert!(self.effects.is_ended(), "the saga has not ended");
        self
    }

    /// Checks that the saga defers the input.
    ///
    /// # Panics
    ///
    /// If it handles the input.
    pub fn defers(self) {
        assert!(self.effects.is_deferred(), "the saga handles the input");
    }
}
