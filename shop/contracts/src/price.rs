//! Prices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Money;

/// The price of one unit, 1 cent to [`Price::MAX`] cents.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "Money", into = "Money")]
#[schemars(with = "Money")]
pub struct Price(Money);

/// The error of an amount that is not a price.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a price is 1 to {} cents", Price::MAX)]
pub struct InvalidPrice;

impl Price {
    /// The highest price, in cents. The total of a full order at this price is far below the limit
    /// of `i64`.
    pub const MAX: i64 = 100_000_000;

    /// Creates a price.
    ///
    /// # Errors
    ///
    /// [`InvalidPrice`] if the amount is not 1 to [`Price::MAX`] cents.
    pub fn new(amount: Money) -> Result<Self, InvalidPrice> {
        if (1..=Self::MAX).contains(&amount.amount_minor) {
            Ok(Self(amount))
        } else {
            Err(InvalidPrice)
        }
    }
}

impl TryFrom<Money> for Price {
    type Error = InvalidPrice;

    fn try_from(amount: Money) -> Result<Self, InvalidPrice> {
        Self::new(amount)
    }
}

impl From<Price> for Money {
    fn from(price: Price) -> Self {
        price.0
    }
}
