//! The check that stored sagas and their timers can be decoded.

use wingbeat_core::{Name, Result};

use super::definition::{Saga, SagaInput as _};
use super::step::{SagaRecord, row_of, table};
use crate::{decode, decodes};

/// The checks of a saga's records and timers.
#[derive(Clone, Copy)]
pub(crate) struct SagaCheck {
    pub(crate) queue: Name,
    pub(crate) table: Name,
    pub(crate) record: fn(&[u8]) -> Result<()>,
    /// Checks a timer by the wire type of its message and its body.
    pub(crate) timer: fn(&str, &[u8]) -> Result<()>,
    /// Returns the name of the state of a stored saga.
    pub(crate) state: fn(&[u8]) -> Result<&'static str>,
    /// Returns the messages that can move it once it has started, without its timers.
    pub(crate) inputs: fn() -> Vec<&'static str>,
}

impl SagaCheck {
    pub(crate) fn of<S: Saga>(queue: Name) -> Self {
        Self {
            queue,
            table: table(S::NAME),
            record: decodes::<SagaRecord<S>>,
            timer: timer::<S>,
            state: state::<S>,
            inputs: inputs::<S>,
        }
    }
}

fn timer<S: Saga>(message: &str, body: &[u8]) -> Result<()> {
    (row_of::<S>(message)?.decode)(body).map(drop)
}

fn state<S: Saga>(body: &[u8]) -> Result<&'static str> {
    let record: SagaRecord<S> = decode(body)?;
    Ok(record.name())
}

fn inputs<S: Saga>() -> Vec<&'static str> {
    let rows = S::Input::ROWS
        .iter()
        .filter(|row| !row.starts && !row.timer);
    rows.map(|row| row.message).collect()
}
