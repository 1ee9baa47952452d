//! The check that stored sagas and their timers can be decoded.

use wingbeat_core::{Name, Result};

use super::definition::Saga;
use super::step::{SagaRecord, row_of, table};
use crate::decodes;

/// The checks of a saga's records and timers.
#[derive(Clone, Copy)]
pub(crate) struct SagaCheck {
    pub(crate) queue: Name,
    pub(crate) table: Name,
    pub(crate) record: fn(&[u8]) -> Result<()>,
    /// Checks a timer by the wire type of its message and its body.
    pub(crate) timer: fn(&str, &[u8]) -> Result<()>,
}

impl SagaCheck {
    pub(crate) fn of<S: Saga>(queue: Name) -> Self {
        Self {
            queue,
            table: table(S::NAME),
            record: decodes::<SagaRecord<S>>,
            timer: timer::<S>,
        }
    }
}

fn timer<S: Saga>(message: &str, body: &[u8]) -> Result<()> {
    (row_of::<S>(message)?.decode)(body).map(drop)
}
