//! Amounts of money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Percent, bounds};

/// A currency. The shop trades in euros.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Currency {
    /// Euro.
    #[default]
    #[serde(rename = "EUR")]
    Eur,
}

/// An amount in cents. A decoded amount is not negative.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The amount in cents.
    #[serde(deserialize_with = "bounds::amount")]
    #[schemars(range(min = 0, max = bounds::AMOUNT_MAX))]
    pub amount_minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Creates an amount of euros from cents.
    #[must_use]
    pub const fn eur(amount_minor: i64) -> Self {
        Self {
            amount_minor,
            currency: Currency::Eur,
        }
    }

    /// Returns the sum; `None` if it overflows.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.amount_minor
            .checked_add(other.amount_minor)
            .map(Self::eur)
    }

    /// Returns the difference; `None` if it overflows.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.amount_minor
            .checked_sub(other.amount_minor)
            .map(Self::eur)
    }

    /// Returns `count` times the amount; `None` if it overflows.
    #[must_use]
    pub fn times(self, count: u32) -> Option<Self> {
        self.amount_minor.checked_mul(count.into()).map(Self::eur)
    }

    /// Returns `percent` percent of an amount that is not negative, with half a cent rounded up.
    #[must_use]
    pub fn percent(self, percent: Percent) -> Self {
        let hundredths = i128::from(self.amount_minor) * i128::from(percent.get());
        let rounded = (hundredths + 50).div_euclid(100);
        Self::eur(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_half_up() {
        let ten = Percent::new(10).unwrap();
        assert_eq!(Money::eur(1_999).percent(ten), Money::eur(200));
        assert_eq!(Money::eur(1_994).percent(ten), Money::eur(199));
        assert_eq!(Money::eur(5).percent(ten), Money::eur(1));
        assert_eq!(Money::eur(4).percent(ten), Money::eur(0));
    }

    #[test]
    fn an_overflow_is_none() {
        assert_eq!(Money::eur(i64::MAX).plus(Money::eur(1)), None);
        assert_eq!(Money::eur(i64::MAX).times(2), None);
    }

    #[test]
    fn money_is_encoded_as_minor_units_and_a_currency() {
        let text = serde_json::to_string(&Money::eur(1_999)).unwrap();
        assert_eq!(text, r#"{"amount_minor":1999,"currency":"EUR"}"#);
    }
}
