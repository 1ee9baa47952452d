//! The status of a shipment.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wingbeat::{JsonSchema, schemars};

/// The status of a shipment. It never moves backwards.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not created yet.
    #[default]
    New,
    /// Created, and waiting for its dispatch.
    Created,
    /// Dispatched.
    Dispatched,
    /// Delivered.
    Delivered,
    /// Cancelled, possibly before it was created.
    Cancelled,
}

/// A refusal: the shipment is dispatched already.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the shipment is dispatched already")]
pub struct Dispatched;

impl Status {
    /// Creates the shipment. A repeated creation changes nothing.
    #[must_use]
    pub fn create(self) -> Self {
        self.max(Self::Created)
    }

    /// Dispatches the shipment; `None` if it is not waiting for its dispatch.
    #[must_use]
    pub fn dispatch(self) -> Option<Self> {
        (self == Self::Created).then_some(Self::Dispatched)
    }

    /// Delivers the shipment; `None` if it is not dispatched.
    #[must_use]
    pub fn deliver(self) -> Option<Self> {
        (self == Self::Dispatched).then_some(Self::Delivered)
    }

    /// Cancels the shipment.
    ///
    /// # Errors
    ///
    /// [`Dispatched`] if the shipment is dispatched or delivered.
    pub fn cancel(self) -> Result<Self, Dispatched> {
        match self {
            Self::New | Self::Created | Self::Cancelled => Ok(Self::Cancelled),
            Self::Dispatched | Self::Delivered => Err(Dispatched),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipment_is_created_dispatched_and_delivered() {
        let created = Status::New.create();
        let dispatched = created.dispatch().unwrap();
        assert_eq!(dispatched.deliver(), Some(Status::Delivered));
    }

    #[test]
    fn a_cancelled_shipment_is_never_created_nor_dispatched() {
        let cancelled = Status::New.cancel().unwrap();
        assert_eq!(cancelled.create(), Status::Cancelled);
        assert_eq!(cancelled.dispatch(), None);
        assert_eq!(cancelled.cancel(), Ok(Status::Cancelled));
    }

    #[test]
    fn a_dispatched_shipment_cannot_be_cancelled() {
        for status in [Status::Dispatched, Status::Delivered] {
            assert_eq!(status.cancel(), Err(Dispatched));
        }
    }

    #[test]
    fn a_repeated_creation_changes_nothing() {
        for status in [Status::Created, Status::Dispatched, Status::Delivered] {
            assert_eq!(status.create(), status);
        }
    }

    #[test]
    fn a_repeated_timer_changes_nothing() {
        assert_eq!(Status::Dispatched.dispatch(), None);
        assert_eq!(Status::Delivered.deliver(), None);
    }
}
