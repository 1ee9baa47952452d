//! Tests of a saga that receives its inputs in any order, without store, broker and time.

use std::collections::BTreeSet;

use crate::saga::SagaRow;
use crate::{Saga, SagaEffects, SagaInput as _, Timestamp};

/// The largest number of random inputs.
const INPUTS_MAX: usize = 25;
/// The timers that fire at most before the saga must have ended.
const TIMERS_MAX: usize = 100;

/// Checks, for each seed, that a saga ends after any sequence of inputs.
///
/// The saga starts, and receives up to 25 random inputs. Then other services answer: as long as
/// the saga has not ended, its timers fire one by one, and `answers` returns the wire types of the
/// messages with which the owner of a command answers it. A running saga must always have a timer,
/// because it would wait forever for a message that never comes.
///
/// `body` must decode as every input of the saga. Fields that an input lacks are ignored, so it has
/// the fields of all of them.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::test::ends_in_any_order;
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
/// ends_in_any_order::<Hold>(0..100, br#"{"room": "7"}"#, |_| &[]);
/// ```
///
/// # Panics
///
/// If the saga runs without a timer, if it does not end, or if the body does not decode as one of
/// its inputs.
pub fn ends_in_any_order<S: Saga>(
    seeds: impl IntoIterator<Item = u64>,
    body: &[u8],
    answers: impl Fn(&str) -> &'static [&'static str],
) {
    for seed in seeds {
        let mut saga = KeptSaga::<S>::new(body);
        saga.receive_randomly(seed);
        saga.run_timers(&answers);
        let state = saga.saga.state();
        assert!(saga.ended, "seed {seed}: the saga remains in {state}");
    }
}

/// A saga with what the runtime keeps for it: whether it has started and ended, and its timers.
/// Inputs are given by their wire types.
///
/// An input that the runtime would not pass to [`Saga::step`] has no effect here: one before the
/// start or after the end, and a timer that is not set.
pub struct KeptSaga<S> {
    /// Its state.
    pub saga: S,
    body: Vec<u8>,
    started: bool,
    ended: bool,
    timers: BTreeSet<&'static str>,
}

impl<S: Saga> KeptSaga<S> {
    /// Creates a saga that has not started. `body` must decode as every input that it receives.
    #[must_use]
    pub fn new(body: &[u8]) -> Self {
        Self {
            saga: S::default(),
            body: body.into(),
            started: false,
            ended: false,
            timers: BTreeSet::new(),
        }
    }

    /// Returns whether the saga has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Passes an input to the saga, and returns the wire types of the messages that it sends and
    /// publishes.
    ///
    /// # Panics
    ///
    /// If the saga has no such input, if the body does not decode as it, if the saga defers it, or
    /// if the saga then runs without a timer.
    pub fn receive(&mut self, message: &str) -> Vec<&'static str> {
        let mut rows = S::Input::ROWS.iter();
        let row = rows.find(|row| row.message == message);
        let row = row.unwrap_or_else(|| panic!("the saga {} has no input {message}", S::NAME));
        if !self.is_delivered(row) {
            return Vec::new();
        }
        self.started = true;
        let (_, input) = (row.decode)(&self.body)
            .unwrap_or_else(|why| panic!("the body does not decode as {message}: {why}"));
        let mut effects = SagaEffects::at(Timestamp::default());
        self.saga.step(input, &mut effects);
        assert!(!effects.is_deferred(), "the saga defers {message}");
        for timer in effects.cancelled() {
            self.timers.remove(timer);
        }
        self.timers.extend(effects.timers());
        self.ended |= effects.is_ended();
        assert!(
            self.ended || !self.timers.is_empty(),
            "after {message} the saga is {} and has no timer",
            self.saga.state()
        );
        effects.messages()
    }

    /// Returns whether the runtime would pass an input to the saga. A timer fires once.
    fn is_delivered(&mut self, row: &SagaRow<S::Input>) -> bool {
        let is_set = !row.timer || self.timers.remove(row.message);
        is_set && !self.ended && (self.started || row.starts)
    }

    /// Starts the saga and passes random inputs to it.
    fn receive_randomly(&mut self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = S::Input::ROWS;
        let start = rows.iter().find(|row| row.starts);
        self.receive(start.expect("a saga has a start").message);
        for _ in 0..random.usize(..INPUTS_MAX) {
            self.receive(rows[random.usize(..rows.len())].message);
        }
    }

    /// Lets the timers fire until the saga has ended. Every message that it sends is answered.
    fn run_timers(&mut self, answers: &impl Fn(&str) -> &'static [&'static str]) {
        for _ in 0..TIMERS_MAX {
            let Some(timer) = self.timers.first().copied().filter(|_| !self.ended) else {
                return;
            };
            let mut open = self.receive(timer);
            while let Some(asked) = open.pop() {
                for answer in answers(asked) {
                    open.extend(self.receive(answer));
                }
            }
        }
    }
}
