//! The service's own copies of the catalogue, of carts, of promos and of flash sales.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::carts::CartChanged;
use shop_contracts::inventory::{FlashClaimConfirmed, FlashSaleCreated};
use shop_contracts::{ClaimId, ClaimKey, Lines, Money, OrderId, Percent, SaleId, Sku, UserId};
use wingbeat::{Entity, JsonSchema, Timestamp, View, ViewColumns, ViewRow, schemars};

/// A copy of a product, built from the catalogue's events.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProductCopy {
    /// The name.
    pub name: String,
    /// The price of one unit.
    pub price: Money,
    /// `true` if the product is no longer sold.
    pub retired: bool,
    /// The catalogue's version; an older event is ignored.
    pub version: u64,
}

impl Entity for ProductCopy {
    const NAME: &'static str = "product_copy";
    type Id = Sku;
}

/// A copy of a user's cart, built from the events of carts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CartCopy {
    /// The products and quantities.
    pub lines: Lines,
    /// The cart's version; an older event is ignored.
    pub version: u64,
    /// The purchases that carts has not yet removed from the cart.
    #[serde(default)]
    pub bought: Vec<(OrderId, Lines)>,
}

impl CartCopy {
    /// Returns the lines that can be bought: those of pending purchases are not bought again.
    #[must_use]
    pub fn left(&self) -> Lines {
        let taken = |sku: &Sku| -> u32 {
            let bought = self.bought.iter().flat_map(|(_, lines)| lines);
            bought.filter(|(of, _)| of == sku).map(|(_, n)| *n).sum()
        };
        let left = self.lines.iter();
        left.map(|(sku, quantity)| (sku.clone(), quantity.saturating_sub(taken(sku))))
            .filter(|(_, quantity)| *quantity > 0)
            .collect()
    }

    /// Applies a change of the cart.
    pub fn changed(&mut self, event: CartChanged) {
        self.bought
            .retain(|(order, _)| Some(*order) != event.order_id);
        if self.version < event.version {
            self.version = event.version;
            self.lines = event.lines;
        }
    }
}

impl Entity for CartCopy {
    const NAME: &'static str = "cart_copy";
    type Id = UserId;
}

/// A copy of a promo, built from the events of promotions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PromoCopy {
    /// The owner, who alone can use it.
    pub user_id: UserId,
    /// The discount in percent.
    pub percent: Percent,
    /// The time from which it can no longer be reserved.
    pub expires_at: Timestamp,
}

impl Entity for PromoCopy {
    const NAME: &'static str = "promo_copy";
    type Id = String;

    fn retention(&self) -> Option<Duration> {
        Some(Duration::from_secs(40 * 24 * 3600))
    }
}

/// The time for which the copy of a claim is stored after its last change, and that of a flash sale
/// after its end.
pub const KEEP_SALES: Duration = Duration::from_secs(40 * 24 * 3600);

/// A copy of a flash sale, built from the events of inventory. The key is the sale.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SaleCopy {
    /// The end.
    pub closes_at: Timestamp,
    /// The lifetime of a claim, in seconds.
    pub claim_ttl_s: u32,
    /// The key that signs the claims.
    pub claim_key: ClaimKey,
}

impl SaleCopy {
    /// The index column.
    pub const CLOSES_AT: &'static str = "closes_at";

    /// Returns the lifetime of a claim.
    #[must_use]
    pub fn claim_ttl(&self) -> Duration {
        Duration::from_secs(self.claim_ttl_s.into())
    }
}

impl From<FlashSaleCreated> for SaleCopy {
    fn from(event: FlashSaleCreated) -> Self {
        Self {
            closes_at: event.closes_at,
            claim_ttl_s: event.claim_ttl_s,
            claim_key: event.claim_key,
        }
    }
}

impl Entity for SaleCopy {
    const NAME: &'static str = "sale_copy";
    type Id = SaleId;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Self>(&[Self::CLOSES_AT])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(id, self)]
    }
}

impl View for SaleCopy {
    const NAME: &'static str = "sale_copies";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(Self::CLOSES_AT, self.closes_at.to_string())]
    }
}

/// The unit of a confirmed claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimedUnit {
    /// The product.
    pub sku: Sku,
    /// The price.
    pub price: Money,
    /// The time until which the claim can be ordered.
    pub expires_at: Timestamp,
}

/// A copy of a claim on a flash sale, built from the events of inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimCopy {
    /// The owner, who alone can use it.
    pub user_id: UserId,
    /// The unit; `None` if the claim was never confirmed.
    pub unit: Option<ClaimedUnit>,
    /// `true` if the claim has expired, or was rejected.
    #[serde(default)]
    pub expired: bool,
    /// The order that uses the claim.
    #[serde(default)]
    pub used_by: Option<OrderId>,
}

impl ClaimCopy {
    /// Applies the confirmation of a claim. An expiry may have overtaken it.
    #[must_use]
    pub fn confirmed(known: Option<Self>, event: FlashClaimConfirmed) -> Self {
        let known = known.unwrap_or(Self::of(event.user_id));
        Self {
            unit: Some(ClaimedUnit {
                sku: event.sku,
                price: event.price.into(),
                expires_at: event.expires_at,
            }),
            ..known
        }
    }

    /// Applies the expiry of a claim.
    #[must_use]
    pub fn expired(known: Option<Self>, user_id: UserId) -> Self {
        Self {
            expired: true,
            ..known.unwrap_or(Self::of(user_id))
        }
    }

    fn of(user_id: UserId) -> Self {
        Self {
            user_id,
            unit: None,
            expired: false,
            used_by: None,
        }
    }
}

impl Entity for ClaimCopy {
    const NAME: &'static str = "claim_copy";
    type Id = ClaimId;

    fn retention(&self) -> Option<Duration> {
        Some(KEEP_SALES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(&str, u32)]) -> Lines {
        let parse = |(sku, n): &(&str, u32)| (sku.parse().expect("a SKU"), *n);
        of.iter().map(parse).collect()
    }

    fn changed(version: u64, of: &[(&str, u32)], order_id: Option<OrderId>) -> CartChanged {
        CartChanged {
            user_id: UserId::default(),
            version,
            lines: lines(of),
            order_id,
        }
    }

    #[test]
    fn bought_lines_are_not_bought_again_until_carts_removes_them() {
        let order = OrderId::default();
        let mut cart = CartCopy::default();
        cart.changed(changed(1, &[("A", 2)], None));
        cart.bought.push((order, lines(&[("A", 2)])));
        assert_eq!(cart.left(), []);
        cart.changed(changed(2, &[("A", 2), ("B", 1)], None));
        assert_eq!(cart.left(), lines(&[("B", 1)]));
        cart.changed(changed(3, &[("B", 1)], Some(order)));
        assert_eq!(cart.left(), lines(&[("B", 1)]));
        assert_eq!(cart.bought, []);
    }

    #[test]
    fn a_late_removal_still_ends_the_pending_purchase() {
        let order = OrderId::default();
        let mut cart = CartCopy::default();
        cart.bought.push((order, lines(&[("A", 1)])));
        cart.changed(changed(5, &[("A", 1)], None));
        cart.changed(changed(4, &[], Some(order)));
        assert_eq!(cart.left(), lines(&[("A", 1)]));
    }
}
