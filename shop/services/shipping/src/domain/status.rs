//! Where a shipment stands.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a shipment stands. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has asked for it yet.
    #[default]
    New,
    /// It will be sent.
    Created,
    /// It is on its way.
    Dispatched,
    /// It has arrived.
    Delivered,
    /// It will not be sent; also when the cancel came first.
    Cancelled,
}

/// It is on its way already, and cannot be called back.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the shipment is on its way")]
pub struct Dispatched;

impl Status {
    /// Asked to send: the first time a new shipment is created; a repetition changes nothing.
    #[must_use]
    pub fn create(self) -> Self {
        self.max(Self::Created)
    }

    /// The time to dispatch has come; `None` when there is nothing to dispatch.
    #[must_use]
    pub fn dispatch(self) -> Option<Self> {
        (self == Self::Created).then_some(Self::Dispatched)
    }

    /// The time of arrival has come; `None` when nothing is on its way.
    #[must_use]
    pub fn deliver(self) -> Option<Self> {
        (self == Self::Dispatched).then_some(Self::Delivered)
    }

    /// Asked not to send.
    ///
    /// # Errors
    ///
    /// When it is on its way, or there.
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
    fn a_timer_that_comes_twice_does_nothing_the_second_time() {
        assert_eq!(Status::Dispatched.dispatch(), None);
        assert_eq!(Status::Delivered.deliver(), None);
    }
}
