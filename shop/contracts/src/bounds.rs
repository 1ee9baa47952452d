//! The bounds of values in messages. A broker accepts messages from everybody, so each value is
//! checked when it is decoded, like the values of a request. A message with a value out of bounds
//! is undecodable.

use serde::de::{Deserialize, Deserializer, Error, Unexpected};

use crate::Sku;

/// The largest quantity of a line.
pub const QUANTITY_MAX: u32 = 99;
/// The longest name of a product, in characters.
pub const NAME_MAX: usize = 200;
/// The longest promo code, in characters.
pub const CODE_MAX: usize = 100;
/// The largest amount of money, in cents. Sums of many such amounts fit into an `i64`.
pub(crate) const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// Reads an amount in cents that is not negative.
pub(crate) fn amount<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    let cents = i64::deserialize(input)?;
    if (0..=AMOUNT_MAX).contains(&cents) {
        return Ok(cents);
    }
    let expected = "an amount from 0 to 1000000000000 cents";
    Err(D::Error::invalid_value(
        Unexpected::Signed(cents),
        &expected,
    ))
}

/// Reads the quantity of a line.
pub(crate) fn quantity<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    checked::<D>(u32::deserialize(input)?)
}

/// Reads products and quantities.
pub(crate) fn lines<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<(Sku, u32)>, D::Error> {
    let lines = Vec::<(Sku, u32)>::deserialize(input)?;
    for (_, quantity) in &lines {
        checked::<D>(*quantity)?;
    }
    Ok(lines)
}

fn checked<'de, D: Deserializer<'de>>(quantity: u32) -> Result<u32, D::Error> {
    if (1..=QUANTITY_MAX).contains(&quantity) {
        return Ok(quantity);
    }
    let unexpected = Unexpected::Unsigned(quantity.into());
    Err(D::Error::invalid_value(
        unexpected,
        &"a quantity from 1 to 99",
    ))
}

/// Reads the name of a product.
pub(crate) fn name<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    text::<D>(input, NAME_MAX)
}

/// Reads a promo code.
pub(crate) fn code<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    text::<D>(input, CODE_MAX)
}

/// Reads a promo code that may be absent.
pub(crate) fn optional_code<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    text.map(|text| bounded::<D>(text, CODE_MAX)).transpose()
}

fn text<'de, D: Deserializer<'de>>(input: D, longest: usize) -> Result<String, D::Error> {
    bounded::<D>(String::deserialize(input)?, longest)
}

fn bounded<'de, D: Deserializer<'de>>(text: String, longest: usize) -> Result<String, D::Error> {
    if text.chars().count() <= longest && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    Err(D::Error::custom(format_args!(
        "a text of at most {longest} characters without control characters is expected"
    )))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use crate::carts::CartChanged;
    use crate::catalog::{PriceChanged, ProductListed};
    use crate::inventory::ReserveStock;
    use crate::orders::OrderPlaced;
    use crate::payments::{AuthorizePayment, PaymentCaptured, PaymentRefunded};
    use crate::promotions::{PromoIssued, PromoReserved, ReservePromo};

    const ID: &str = "0193f0a0-0000-7000-8000-000000000001";

    fn eur(cents: i64) -> Value {
        json!({"amount_minor": cents, "currency": "EUR"})
    }

    /// Checks that the message is decoded, and that it is not with any of these values in a field.
    fn refused<M: DeserializeOwned>(right: &Value, pointer: &str, wrong: &[Value]) {
        let decoded = serde_json::from_value::<M>(right.clone());
        assert!(decoded.is_ok(), "{right}: {:?}", decoded.err());
        for value in wrong {
            let mut message = right.clone();
            *message.pointer_mut(pointer).expect("the field") = value.clone();
            let decoded = serde_json::from_value::<M>(message);
            assert!(decoded.is_err(), "{pointer} = {value}");
        }
    }

    #[test]
    fn a_promo_gives_1_to_100_percent() {
        let wrong = [0, 101, 255, 256, -1].map(|it| json!(it));
        let mut message = json!({
            "user_id": ID, "code": "A", "percent": 100, "expires_at": "2026-01-01T00:00:00Z"
        });
        refused::<PromoIssued>(&message, "/percent", &wrong);
        message["order_id"] = json!(ID);
        refused::<PromoReserved>(&message, "/percent", &wrong);
        let codes = [json!("A".repeat(101)), json!("A\nB"), json!("A\0")];
        refused::<PromoIssued>(&message, "/code", &codes);
        refused::<ReservePromo>(&message, "/code", &codes);
    }

    #[test]
    fn a_price_is_positive_and_bounded() {
        let message = json!({"sku": "TEA", "name": "Tea", "price": eur(1), "version": 1});
        let wrong = [-500, -1, 0, 100_000_001, i64::MIN, i64::MAX].map(eur);
        refused::<ProductListed>(&message, "/price", &wrong);
        refused::<PriceChanged>(&message, "/price", &wrong);
        let names = [json!("a".repeat(201)), json!("Tea\r\nBcc: x@y.example")];
        refused::<ProductListed>(&message, "/name", &names);
    }

    #[test]
    fn an_amount_is_not_negative() {
        let message = json!({"order_id": ID, "amount": eur(0), "token": "tok_ok"});
        let wrong = [-1, i64::MIN, 1_000_000_000_001].map(eur);
        refused::<AuthorizePayment>(&message, "/amount", &wrong);
        refused::<PaymentCaptured>(&message, "/amount", &wrong);
        refused::<PaymentRefunded>(&message, "/amount", &wrong);
    }

    #[test]
    fn a_quantity_is_1_to_99() {
        let message = json!({
            "order_id": ID, "user_id": ID, "version": 1, "lines": [["TEA", 99]]
        });
        let wrong = [0, 100, u32::MAX].map(|quantity| json!(quantity));
        refused::<ReserveStock>(&message, "/lines/0/1", &wrong);
        refused::<CartChanged>(&message, "/lines/0/1", &wrong);
        let line = json!({"sku": "TEA", "name": "Tea", "quantity": 1, "price": eur(1)});
        let placed = json!({
            "order_id": ID, "user_id": ID, "lines": [line], "subtotal": eur(1),
            "discount": eur(0), "total": eur(1), "promo_code": null, "from_cart": false
        });
        refused::<OrderPlaced>(&placed, "/lines/0/quantity", &wrong);
        for amount in ["/subtotal", "/discount", "/total", "/lines/0/price"] {
            refused::<OrderPlaced>(&placed, amount, &[eur(-1)]);
        }
    }
}
