//! What can be ordered.

use serde::Serialize;

/// A card of the stand-in provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Card {
    /// Pays.
    #[default]
    #[serde(rename = "tok_ok")]
    Ok,
    /// Is declined.
    #[serde(rename = "tok_declined")]
    Declined,
    /// Pays after two seconds.
    #[serde(rename = "tok_slow")]
    Slow,
    /// Fails twice at each operation, then pays.
    #[serde(rename = "tok_flaky")]
    Flaky,
    /// Pays, and cuts the connection before it says so.
    #[serde(rename = "tok_lost_reply")]
    LostReply,
}

/// The body of `POST /orders`.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
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

/// Where everything goes: a street that does not exist.
const NOWHERE: Address = Address {
    line1: "1 Nowhere Lane",
    city: "Erewhon",
    postal_code: "00000",
    country: "XX",
};

impl Order {
    /// SKUs and quantities; none buys the cart.
    pub fn of(items: impl IntoIterator<Item = (String, u32)>) -> Self {
        let items = items.into_iter();
        Self {
            items: items
                .map(|(sku, quantity)| Item { sku, quantity })
                .collect(),
            promo_code: None,
            payment_token: Card::Ok,
            address: NOWHERE,
        }
    }

    /// With this card.
    #[must_use]
    pub fn paid_with(mut self, card: Card) -> Self {
        self.payment_token = card;
        self
    }

    /// With this promo.
    #[must_use]
    pub fn with_promo(mut self, code: &str) -> Self {
        self.promo_code = Some(code.into());
        self
    }
}
