//! Pure tests: what is given, what comes, what follows. No store, no broker, no time.

use std::fmt::Debug;

use crate::{Aggregate, Message, Saga, SagaEffects, Timestamp, decode};
use serde::de::DeserializeOwned;

/// An aggregate to which this has happened.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::Aggregate;
/// use wingbeat::test::given;
///
/// #[derive(Default, Clone, Serialize, Deserialize)]
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

/// See [`given()`].
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// It is asked this.
    pub fn when(self, command: A::Command) -> Decided<A> {
        Decided {
            decision: self.state.decide(command),
        }
    }
}

/// What an aggregate decided.
pub struct Decided<A: Aggregate> {
    decision: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> Decided<A> {
    /// This happens, and nothing else.
    ///
    /// # Panics
    ///
    /// When something else does, or it refuses.
    pub fn then(self, events: impl IntoIterator<Item = A::Event>)
    where
        A::Event: PartialEq + Debug,
        A::Error: Debug,
    {
        let expected: Vec<A::Event> = events.into_iter().collect();
        assert_eq!(self.decision.expect("it refuses"), expected);
    }

    /// It refuses, for this reason.
    ///
    /// # Panics
    ///
    /// When it does not, or for another.
    pub fn refused(self, why: A::Error)
    where
        A::Event: Debug,
        A::Error: PartialEq + Debug,
    {
        assert_eq!(self.decision.expect_err("it does not refuse"), why);
    }
}

/// A saga that has taken these inputs.
///
/// # Panics
///
/// When it defers one of them.
pub fn given_saga<S: Saga>(inputs: impl IntoIterator<Item = S::Input>) -> GivenSaga<S> {
    let mut saga = S::default();
    for input in inputs {
        let mut effects = SagaEffects::at(Timestamp::default());
        saga.step(input, &mut effects);
        assert!(!effects.is_deferred(), "it defers what it is given");
    }
    GivenSaga { saga }
}

/// See [`given_saga`].
pub struct GivenSaga<S> {
    saga: S,
}

impl<S: Saga> GivenSaga<S> {
    /// It takes this.
    pub fn when(mut self, input: S::Input) -> Stepped<S> {
        let mut effects = SagaEffects::at(Timestamp::default());
        self.saga.step(input, &mut effects);
        Stepped {
            saga: self.saga,
            effects,
        }
    }
}

/// Why nothing that was asked for takes effect.
const DEFERRED: &str = "it has the input come again later";

/// What a saga asked for.
pub struct Stepped<S: Saga> {
    /// How it stands.
    pub saga: S,
    effects: SagaEffects<S::Input>,
}

impl<S: Saga> Stepped<S> {
    /// It sends and publishes these, by their wire types, in this order and nothing else.
    ///
    /// # Panics
    ///
    /// When it asks for something else.
    pub fn then(self, messages: impl IntoIterator<Item = &'static str>) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        let expected: Vec<&str> = messages.into_iter().collect();
        assert_eq!(self.effects.asked(), expected);
        self
    }

    /// The message of this type that it sends or publishes.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn message<M: Message + DeserializeOwned>(&self) -> M {
        let body = self.effects.body(M::NAME);
        let body = body.unwrap_or_else(|| panic!("it does not ask for {}", M::NAME));
        decode(body).expect("what it encoded")
    }

    /// It sets these timers, by their wire types, and no others.
    ///
    /// # Panics
    ///
    /// When it sets others.
    pub fn sets(self, timers: impl IntoIterator<Item = &'static str>) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        let expected: Vec<&str> = timers.into_iter().collect();
        assert_eq!(self.effects.timers(), expected);
        self
    }

    /// It has ended.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn ends(self) -> Self {
        assert!(!self.effects.is_deferred(), "{DEFERRED}");
        assert!(self.effects.is_ended(), "it goes on");
        self
    }

    /// It has the input come again later, and nothing takes effect.
    ///
    /// # Panics
    ///
    /// When it takes the input.
    pub fn defers(self) {
        assert!(self.effects.is_deferred(), "it takes it");
    }
}
