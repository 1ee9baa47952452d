//! A claim on a unit of a flash sale, and the units of each user.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::{ClaimId, OrderId, SaleId, UserId};
use wingbeat::{Entity, JsonSchema, Timestamp, View, ViewColumns, ViewRow, schemars};

/// The time for which claims are stored after their last change. It exceeds the longest sale, so
/// that the claims of a sale can be counted until some days after its end.
pub const CLAIMS_KEPT: Duration = Duration::from_secs(40 * 24 * 3600);

/// The units of a sale that are not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A confirmed claim has the unit.
    Held,
    /// An order in checkout has the unit.
    Ordered,
    /// The unit left with an order.
    Sold,
}

/// The status of a recorded claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ClaimStatus {
    /// The claim has a unit, and can be ordered.
    Confirmed,
    /// The claim was not ordered, or not recorded, in its time.
    Expired,
    /// The store refused the claim.
    Rejected,
    /// An order in checkout has the unit.
    Ordered {
        /// The order.
        order_id: OrderId,
    },
    /// The unit left with its order.
    Sold {
        /// The order.
        order_id: OrderId,
    },
    /// The order was rejected or cancelled, and has given the unit back.
    Returned {
        /// The order.
        order_id: OrderId,
    },
}

impl ClaimStatus {
    /// Returns the share that the claim's unit belongs to; `None` if the claim has no unit.
    #[must_use]
    pub fn share(self) -> Option<Share> {
        match self {
            Self::Confirmed => Some(Share::Held),
            Self::Ordered { .. } => Some(Share::Ordered),
            Self::Sold { .. } => Some(Share::Sold),
            Self::Expired | Self::Rejected | Self::Returned { .. } => None,
        }
    }

    /// Returns the status once an order uses the claim; `None` if that changes nothing. A claim
    /// that expired on the way can get another unit.
    #[must_use]
    pub fn used(self, order_id: OrderId) -> Option<Self> {
        matches!(self, Self::Confirmed | Self::Expired).then_some(Self::Ordered { order_id })
    }

    /// Returns the status once the order takes its unit out. The commit is refused unless it is
    /// [`ClaimStatus::Sold`].
    #[must_use]
    pub fn committed(self, order_id: OrderId) -> Self {
        match self {
            Self::Confirmed => Self::Sold { order_id },
            Self::Ordered { order_id: by } if by == order_id => Self::Sold { order_id },
            other => other,
        }
    }

    /// Returns the status once the order gives its unit back.
    #[must_use]
    pub fn given_back(self, order_id: OrderId) -> Self {
        match self {
            Self::Confirmed | Self::Expired => Self::Returned { order_id },
            Self::Ordered { order_id: by } | Self::Sold { order_id: by } if by == order_id => {
                Self::Returned { order_id }
            }
            other => other,
        }
    }
}

/// A recorded claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlashClaim {
    /// The sale.
    pub sale_id: SaleId,
    /// The user.
    pub user_id: UserId,
    /// The status.
    #[serde(flatten)]
    pub status: ClaimStatus,
    /// The time until which a confirmed claim can be ordered.
    pub expires_at: Timestamp,
}

impl Entity for FlashClaim {
    const NAME: &'static str = "flash_claim";
    type Id = ClaimId;

    fn retention(&self) -> Option<Duration> {
        Some(CLAIMS_KEPT)
    }
}

/// The units that a user has of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlashHolder {
    /// The sale.
    pub sale_id: SaleId,
    /// The user.
    pub user_id: UserId,
    /// The units.
    pub units: u32,
    /// The revision of the sale that changed them.
    pub revision: u64,
}

impl FlashHolder {
    /// Returns the id of a holder.
    #[must_use]
    pub fn id(sale: SaleId, user: UserId) -> String {
        format!("{sale}/{user}")
    }

    /// The index column: the sale and the revision, so that the newest changes come last.
    pub const CHANGED: &'static str = "changed";

    /// Returns the column's value.
    #[must_use]
    pub fn changed(&self) -> String {
        format!("{}{:020}", Self::changes_of(self.sale_id), self.revision)
    }

    /// Returns the common beginning of the column's values for a sale.
    #[must_use]
    pub fn changes_of(sale: SaleId) -> String {
        format!("{sale}|")
    }
}

impl Entity for FlashHolder {
    const NAME: &'static str = "flash_holder";
    type Id = String;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Self>(&[Self::CHANGED])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(id, self)]
    }
}

impl View for FlashHolder {
    const NAME: &'static str = "flash_holders";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(Self::CHANGED, self.changed())]
    }
}

/// A confirmed claim without an order, indexed by its expiry. The key is the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldClaimRow {
    /// The claim.
    pub claim_id: ClaimId,
    /// The time at which it expires.
    pub expires_at: Timestamp,
}

impl HeldClaimRow {
    /// The index column.
    pub const EXPIRES_AT: &'static str = "expires_at";
}

impl View for HeldClaimRow {
    const NAME: &'static str = "held_claims";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(Self::EXPIRES_AT, self.expires_at.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));
    const OTHER: OrderId = OrderId(Uuid::from_u128(2));

    #[test]
    fn a_claim_is_used_committed_and_given_back() {
        let used = ClaimStatus::Confirmed.used(ORDER).unwrap();
        assert_eq!(used, ClaimStatus::Ordered { order_id: ORDER });
        assert_eq!(used.used(ORDER), None);
        let sold = used.committed(ORDER);
        assert_eq!(sold, ClaimStatus::Sold { order_id: ORDER });
        assert_eq!(sold.committed(ORDER), sold);
        let back = sold.given_back(ORDER);
        assert_eq!(back, ClaimStatus::Returned { order_id: ORDER });
        assert_eq!(back.given_back(ORDER), back);
        assert_eq!(back.committed(ORDER), back, "the commit is refused");
    }

    #[test]
    fn a_commit_or_a_return_may_overtake_the_use() {
        let sold = ClaimStatus::Confirmed.committed(ORDER);
        assert_eq!(sold, ClaimStatus::Sold { order_id: ORDER });
        assert_eq!(sold.used(ORDER), None);
        let back = ClaimStatus::Confirmed.given_back(ORDER);
        assert_eq!(back.used(ORDER), None, "it is a tombstone");
    }

    #[test]
    fn another_order_cannot_take_the_unit() {
        let used = ClaimStatus::Ordered { order_id: ORDER };
        assert_eq!(used.committed(OTHER), used);
        assert_eq!(used.given_back(OTHER), used);
    }

    #[test]
    fn an_expired_claim_cannot_be_committed() {
        assert_eq!(ClaimStatus::Expired.committed(ORDER), ClaimStatus::Expired);
        assert_eq!(ClaimStatus::Expired.share(), None);
    }
}
