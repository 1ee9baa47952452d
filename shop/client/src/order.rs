//! The request of an order.

use serde::Serialize;

/// A test card of the stand-in provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Card {
    /// Each operation succeeds.
    #[default]
    #[serde(rename = "tok_ok")]
    Ok,
    /// The authorization is declined.
    #[serde(rename = "tok_declined")]
    Declined,
    /// The first attempt of each operation takes two seconds.
    #[serde(rename = "tok_slow")]
    Slow,
    /// Each operation fails twice, then succeeds.
    #[serde(rename = "tok_flaky")]
    Flaky,
    /// Each operation succeeds, but the provider closes the connection instead of replying.
    #[serde(rename = "tok_lost_reply")]
    LostReply,
}

/// The body of `POST /orders`.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flash_claim_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promo_code: Option<String>,
    payment_token: Card,
    address: Address,
}

#[derive(Clone, Debug, Serialize)]
struct Item {
    sku: String,
    quantity: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Address {
    line1: &'static str,
    city: &'static str,
    postal_code: &'static str,
    country: &'static str,
}

/// The address of all orders, which does not exist.
const NOWHERE: Address = Address {
    line1: "1 Nowhere Lane",
    city: "Erewhon",
    postal_code: "00000",
    country: "XX",
};

impl Order {
    /// Creates an order of these SKUs and quantities. An order without items buys the cart.
    pub fn of(items: impl IntoIterator<Item = (String, u32)>) -> Self {
        let items = items.into_iter();
        Self {
            items: items
                .map(|(sku, quantity)| Item { sku, quantity })
                .collect(),
            flash_claim_id: None,
            promo_code: None,
            payment_token: Card::Ok,
            address: NOWHERE,
        }
    }

    /// Creates an order of the unit of a claim on a flash sale.
    #[must_use]
    pub fn of_claim(claim_id: &str) -> Self {
        Self {
            flash_claim_id: Some(claim_id.into()),
            ..Self::of([])
        }
    }

    /// Sets the card.
    #[must_use]
    pub fn paid_with(mut self, card: Card) -> Self {
        self.payment_token = card;
        self
    }

    /// Sets the promo code.
    #[must_use]
    pub fn with_promo(mut self, code: &str) -> Self {
        self.promo_code = Some(code.into());
        self
    }
}
