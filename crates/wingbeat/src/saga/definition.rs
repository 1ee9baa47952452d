use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::{Kind, MessageType, Result};

use super::effects::SagaEffects;

/// A process that waits for messages of several services and decides what comes next. Pure: no I/O.
pub trait Saga: Serialize + DeserializeOwned + Default + Send + 'static {
    /// The saga's name: of its queue and its table.
    const NAME: &'static str;
    /// What it reacts to: derive `SagaInput` on an enum with one variant a message.
    type Input: SagaInput;

    /// The names of its states, for metrics and for the coverage of simulations.
    const STATES: &'static [&'static str] = &["running"];

    /// Which of [`Self::STATES`] it is in.
    fn state(&self) -> &'static str {
        "running"
    }

    /// Takes one input of a running saga.
    fn step(&mut self, input: Self::Input, effects: &mut SagaEffects<Self::Input>);

    /// Answers an input that comes before the start or after the end. Never silent by accident: required.
    ///
    /// Messages may overtake each other on their way from two replicas. What can only have been sent once the start was
    /// on its way is therefore not to be dropped before it: [`SagaEffects::defer`] has it come again.
    fn late(&mut self, when: Late, input: Self::Input, effects: &mut SagaEffects<Self::Input>);
}

/// The metric of what sagas take.
pub mod metric {
    /// A counter: inputs taken.
    pub const INPUTS: &str = "wingbeat_saga_inputs_total";
    /// Its label for the saga.
    pub const SAGA: &str = "saga";
    /// Its label for the state: one of the saga's, `not_started` or `ended`.
    pub const STATE: &str = "state";
    /// Its label for the wire type of the input.
    pub const INPUT: &str = "input";
}

/// Why an input is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The saga has not started.
    NotStarted,
    /// It has ended.
    Ended,
}

/// The inputs of a saga. Derive it.
pub trait SagaInput: Sized + Send + 'static {
    /// One row a variant.
    const ROWS: &'static [SagaRow<Self>];
}

/// A message that a saga takes.
pub struct SagaRow<I> {
    /// The wire type.
    pub message: &'static str,
    /// Event or command.
    pub kind: Kind,
    /// It starts the saga.
    pub starts: bool,
    /// It is one of the saga's own timers and comes from no queue.
    pub timer: bool,
    /// The message type, with its schema.
    pub message_type: MessageType,
    /// Decodes a body into the saga's key and the input.
    pub decode: fn(&[u8]) -> Result<(String, I)>,
}
