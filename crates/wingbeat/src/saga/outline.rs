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
    pub(crate) timer: bool,
}

impl Outline {
    pub(crate) fn of<S: Saga>(queue: Name) -> Self {
        let inputs = S::Input::ROWS.iter().map(|row| OutlineInput {
            message: row.message,
            timer: row.timer,
        });
        Self {
            queue,
            name: S::NAME,
            states: S::STATES,
            inputs: inputs.collect(),
        }
    }

    /// Returns the wire types of the timers.
    pub(crate) fn timers(&self) -> impl Iterator<Item = &'static str> {
        let timers = self.inputs.iter().filter(|input| input.timer);
        timers.map(|input| input.message)
    }
}
