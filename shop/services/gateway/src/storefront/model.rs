//! The API's replies, reduced to the fields that the pages show.

use serde::Deserialize;

use super::{api::encode, money::Money};

/// The reply of `GET /api/v1/me`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Me {
    pub(super) user_id: String,
    pub(super) email: String,
    pub(super) name: String,
}

/// A page of a list. `next_cursor` is `None` on the last page.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// A product of `GET /api/v1/products`.
#[derive(Debug, Deserialize)]
pub(super) struct Product {
    pub(super) sku: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) price: Money,
    /// The number of units that can be sold.
    #[serde(default)]
    pub(super) available: i64,
}

impl Product {
    pub(super) fn picture(&self) -> String {
        picture(&self.sku)
    }

    /// Returns the colour class of the stock: `out`, `low` or `plenty`. `assets/stock.js` uses the
    /// same bounds.
    pub(super) fn stock_level(&self) -> &'static str {
        match self.available {
            ..=0 => "out",
            1..=9 => "low",
            _ => "plenty",
        }
    }

    /// Returns the stock in words.
    pub(super) fn stock_words(&self) -> String {
        match self.available {
            ..=0 => "Sold out".to_owned(),
            few @ 1..=9 => format!("Only {few} left"),
            many => format!("{} in stock", super::money::grouped(many.unsigned_abs())),
        }
    }
}

/// An order of the list, which has no lines, or a single order.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) order_id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) payment_delayed: bool,
    #[serde(default)]
    pub(super) lines: Vec<Line>,
    pub(super) subtotal: Money,
    pub(super) discount: Money,
    pub(super) total: Money,
    pub(super) placed_at: String,
    pub(super) updated_at: String,
}

impl Order {
    /// Returns the short id for people: the random end of the id.
    pub(super) fn short_id(&self) -> &str {
        let start = self.order_id.len().saturating_sub(6);
        self.order_id.get(start..).unwrap_or(&self.order_id)
    }

    /// Returns the time of the order in UTC. `assets/when.js` replaces it by the local time.
    pub(super) fn placed_words(&self) -> String {
        match self.placed_at.parse::<jiff::Timestamp>() {
            Ok(at) => at.strftime("%-d %b %Y, %H:%M UTC").to_string(),
            Err(_) => self.placed_at.clone(),
        }
    }
}

/// A line of an order, with the price of the time of the order.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) quantity: u32,
    pub(super) price: Money,
}

impl Line {
    pub(super) fn picture(&self) -> String {
        picture(&self.sku)
    }
}

/// Returns the path of a product's picture.
fn picture(sku: &str) -> String {
    format!("/assets/artwork/{}", encode(sku))
}
