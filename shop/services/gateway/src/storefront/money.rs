//! Amounts of money in the form for people.

use std::fmt;

use serde::Deserialize;

/// An amount in the currency's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Money {
    amount_minor: i64,
    currency: String,
}

impl Money {
    pub(super) fn is_zero(&self) -> bool {
        self.amount_minor == 0
    }

    /// Returns `quantity` times the amount.
    pub(super) fn times(&self, quantity: u32) -> Self {
        let amount_minor = self.amount_minor.saturating_mul(i64::from(quantity));
        Self {
            amount_minor,
            currency: self.currency.clone(),
        }
    }
}

/// Formats an amount such as `€1,999.00`. `assets/money.js` uses the same format.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minor = self.amount_minor.unsigned_abs();
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let amount = format_args!("{}.{:02}", grouped(minor / 100), minor % 100).to_string();
        match self.currency.as_str() {
            "EUR" => write!(f, "{sign}€{amount}"),
            other => write!(f, "{sign}{other} {amount}"),
        }
    }
}

/// Formats a number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Money;

    fn eur(amount_minor: i64) -> String {
        Money {
            amount_minor,
            currency: "EUR".to_owned(),
        }
        .to_string()
    }

    #[test]
    fn amounts_are_formatted_with_their_currency() {
        assert_eq!(eur(0), "€0.00");
        assert_eq!(eur(1999), "€19.99");
        assert_eq!(eur(-5), "-€0.05");
        assert_eq!(eur(123_456_789), "€1,234,567.89");
    }
}
