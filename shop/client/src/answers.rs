//! What the shop says, as far as its clients read it.

use serde::Deserialize;
use serde_json::Value;

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Money {
    /// In cents.
    pub amount_minor: i64,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts; `None` on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A product.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    /// Its number.
    pub sku: String,
    /// What it costs.
    pub price: Money,
    /// How many can be sold.
    pub available: i64,
}

/// An order that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Which.
    pub order_id: String,
    /// What is to be paid.
    pub total: Money,
}

/// Where an order stands; also the data of an event of the live stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Which.
    pub order_id: String,
    /// Where it stands.
    pub status: String,
    /// Why, when rejected.
    #[serde(default)]
    pub reason: Option<String>,
    /// The payment is taking long.
    #[serde(default)]
    pub payment_delayed: bool,
}

impl Status {
    /// Whether nothing can happen to it any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "rejected" | "cancelled")
    }

    /// Whether it was paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self.status.as_str(), "paid" | "shipped" | "completed")
    }
}

/// A shopper that was made for a test.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) token: String,
}

/// A session.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SignedIn {
    pub(crate) token: String,
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    /// A stable name.
    #[serde(default)]
    pub code: String,
    /// In words.
    #[serde(default)]
    pub detail: String,
}

/// The audit's answer, whole: `shop audit --json` repeats it.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// All invariants hold.
    pub ok: bool,
    /// One by one.
    pub invariants: Vec<Invariant>,
}

/// An invariant.
#[derive(Clone, Debug, Deserialize)]
pub struct Invariant {
    /// Its number.
    pub id: u64,
    /// What it says.
    pub name: String,
    /// It holds.
    pub ok: bool,
    /// How many things were looked at.
    pub checked: u64,
    /// What breaks it.
    pub violations: Vec<Value>,
}
