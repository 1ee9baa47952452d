//! A user's feed of changes: numbered per user, written in the unit of the change itself.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, OrderStatus, RejectReason, UserId};
use wingbeat::ViewRow;
use wingbeat::{Entity, Timestamp, View};

/// One change of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRow {
    /// Its number in the user's feed, from 1.
    pub version: u64,
    /// The order.
    pub order_id: OrderId,
    /// Its status from then on.
    pub status: OrderStatus,
    /// Why, when rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectReason>,
    /// The payment has been unanswered for long.
    pub payment_delayed: bool,
    /// When.
    pub updated_at: Timestamp,
}

/// The index column of [`FeedRow`].
pub const BY_FEED: &str = "by_feed";

impl View for FeedRow {
    const NAME: &'static str = "feed";
}

/// A user's feed: how far it is, and its newest change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Feed {
    /// The newest change; `None` before the first.
    pub newest: Option<FeedRow>,
}

impl Feed {
    /// The feed with one more change.
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

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let newest = self.newest.iter();
        newest
            .map(|row| ViewRow::of(format!("{id}|{:016}", row.version), row))
            .collect()
    }
}
