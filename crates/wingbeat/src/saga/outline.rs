//! The shape of a saga, for the coverage of simulations.

use wingbeat_core::Name;

use super::definition::{Saga, SagaInput as _};

/// A saga without its types.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) queue: Name,
    pub(crate) name: &'static str,
    pub(crate) states: &'static [&'static str],
    pub(crate) inputs: Vec<OutlineInput>,
}

/// An input of a saga.
#[derive(Clone, Debug)]
pub(crate) struct OutlineInput {
    /// The wire type.
    pub(crate) message: &'static str,
    pub(crate) starts: bool,
    pub(crate) timer: bool,
}

impl Outline {
    pub(crate) fn of<S: Saga>(queue: Name) -> Self {
        let inputs = S::Input::ROWS.iter().map(|row| OutlineInput {
            message: row.message,
            starts: row.starts,
            timer: row.timer,
        });
        Self {
            queue,
            name: S::NAME,
            states: S::STATES,
            inputs: inputs.collect(),
        }
    }

    /// Returns the states in which the saga can receive an input: a timer only while it runs, and
    /// its only start message only before it.
    pub(crate) fn states_for(&self, input: &OutlineInput) -> Vec<&'static str> {
        let starts = self.inputs.iter().filter(|it| it.starts).count();
        if input.timer {
            self.states.to_vec()
        } else if input.starts && starts == 1 {
            vec!["not_started"]
        } else {
            [self.states, &["not_started", "ended"]].concat()
        }
    }

    /// Returns the wire types of the timers.
    pub(crate) fn timers(&self) -> impl Iterator<Item = &'static str> {
        let timers = self.inputs.iter().filter(|input| input.timer);
        timers.map(|input| input.message)
    }
}
