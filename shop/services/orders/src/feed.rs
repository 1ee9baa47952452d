//! A user's feed of changes. The changes are numbered per user and written in the unit of the
//! change itself.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, OrderStatus, RejectReason, UserId};
use wingbeat::{Entity, JsonSchema, Timestamp, View, schemars};
use wingbeat::{ViewColumns, ViewRow};

/// A change of an order. The key is the user and the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedRow {
    /// The number of the change in the user's feed, from 1.
    pub version: u64,
    /// The order.
    pub order_id: OrderId,
    /// The new status.
    pub status: OrderStatus,
    /// The reason of a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectReason>,
    /// `true` if the authorization of the payment is delayed.
    pub payment_delayed: bool,
    /// The time of the change.
    pub updated_at: Timestamp,
}

impl View for FeedRow {
    const NAME: &'static str = "feed";
}

/// A user's feed, which stores its newest change.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Feed {
    /// The newest change; `None` before the first.
    pub newest: Option<FeedRow>,
}

impl Feed {
    /// Returns the feed with another change, which gets the next number.
    #[must_use]
    pub fn with(feed: Option<Self>, change: FeedRow) -> Self {
        let version = feed
            .and_then(|feed| feed.newest)
            .map_or(0, |newest| newest.version)
            + 1;
        Self {
            newest: Some(FeedRow { version, ..change }),
        }
    }
}

impl Entity for Feed {
    const NAME: &'static str = "feed";
    type Id = UserId;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<FeedRow>(&[])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let newest = self.newest.iter();
        newest
            .map(|row| ViewRow::of(format!("{id}|{:016}", row.version), row))
            .collect()
    }
}
