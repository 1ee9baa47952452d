//! The replies of the shop, as far as its clients read them.

use serde::Deserialize;
use serde_json::Value;

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Money {
    /// The amount in cents.
    pub amount_minor: i64,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// The items of the page.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A product.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    /// The SKU.
    pub sku: String,
    /// The price of one unit.
    pub price: Money,
    /// The number of units that can be sold.
    pub available: i64,
}

/// An accepted order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// The order.
    pub order_id: String,
    /// The amount to be paid.
    pub total: Money,
}

/// The state of an order, and the data of an event of the live stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The order.
    pub order_id: String,
    /// The status.
    pub status: String,
    /// The reason of a rejection.
    #[serde(default)]
    pub reason: Option<String>,
    /// `true` if the authorization of the payment is delayed.
    #[serde(default)]
    pub payment_delayed: bool,
}

impl Status {
    /// Returns whether the status is terminal.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "rejected" | "cancelled")
    }

    /// Returns whether the order is paid.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        matches!(self.status.as_str(), "paid" | "shipped" | "completed")
    }
}

/// A shopper that the shop created for a load test.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) token: String,
}

/// A session.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SignedIn {
    pub(crate) token: String,
}

/// A problem (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    /// The stable code.
    #[serde(default)]
    pub code: String,
    /// The description.
    #[serde(default)]
    pub detail: String,
}

/// The report of the audit.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// `true` if all invariants hold.
    pub ok: bool,
    /// The invariants.
    pub invariants: Vec<Invariant>,
}

/// An invariant.
#[derive(Clone, Debug, Deserialize)]
pub struct Invariant {
    /// The number.
    pub id: u64,
    /// The name.
    pub name: String,
    /// `true` if it holds.
    pub ok: bool,
    /// The number of checked subjects.
    pub checked: u64,
    /// The violations, each with a `subject` and a `detail`.
    pub violations: Vec<Value>,
}
