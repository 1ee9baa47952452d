//! Amounts of money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shop trades in euros.
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

/// An amount in cents.
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
    /// Cents.
    pub amount_minor: i64,
    /// Of which currency.
    pub currency: Currency,
}

impl Money {
    /// So many cents.
    #[must_use]
    pub const fn eur(amount_minor: i64) -> Self {
        Self {
            amount_minor,
            currency: Currency::Eur,
        }
    }

    /// The sum, unless it does not fit.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.amount_minor
            .checked_add(other.amount_minor)
            .map(Self::eur)
    }

    /// The difference, unless it does not fit.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.amount_minor
            .checked_sub(other.amount_minor)
            .map(Self::eur)
    }

    /// So many times the amount, unless it does not fit.
    #[must_use]
    pub fn times(self, count: u32) -> Option<Self> {
        self.amount_minor.checked_mul(count.into()).map(Self::eur)
    }

    /// So many percent of the amount, half a cent rounded up. For amounts that are not negative.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        let hundredths = i128::from(self.amount_minor) * i128::from(percent);
        let rounded = (hundredths + 50).div_euclid(100);
        Self::eur(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_half_up() {
        assert_eq!(Money::eur(1_999).percent(10), Money::eur(200));
        assert_eq!(Money::eur(1_994).percent(10), Money::eur(199));
        assert_eq!(Money::eur(5).percent(10), Money::eur(1));
        assert_eq!(Money::eur(4).percent(10), Money::eur(0));
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        assert_eq!(Money::eur(i64::MAX).plus(Money::eur(1)), None);
        assert_eq!(Money::eur(i64::MAX).times(2), None);
    }

    #[test]
    fn money_on_the_wire_is_minor_units_and_a_currency() {
        let text = serde_json::to_string(&Money::eur(1_999)).unwrap();
        assert_eq!(text, r#"{"amount_minor":1999,"currency":"EUR"}"#);
    }
}
