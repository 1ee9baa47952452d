//! Properties of money and discounts.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use proptest::prelude::*;
use shop_contracts::{Money, Percent};

proptest! {
    #[test]
    fn a_discount_is_half_up_and_never_more_than_the_amount(
        cents in 0_i64..=1_000_000_000_000,
        percent in 1_u8..=100,
    ) {
        let discount = Money::eur(cents).percent(Percent::new(percent).unwrap()).amount_minor;
        let exact = i128::from(cents) * i128::from(percent);
        prop_assert!((0..=cents).contains(&discount));
        prop_assert!((i128::from(discount) * 100 - exact).abs() <= 50);
        let rounded_up = i128::from(discount) * 100 > exact;
        prop_assert!(exact % 100 != 50 || rounded_up, "half a cent is rounded up");
    }

    #[test]
    fn sums_are_exact_or_overflow(a: i64, b: i64, count: u32) {
        let sum = Money::eur(a).plus(Money::eur(b)).map(|sum| sum.amount_minor);
        prop_assert_eq!(sum, a.checked_add(b));
        let product = Money::eur(a).times(count).map(|product| product.amount_minor);
        prop_assert_eq!(product, a.checked_mul(count.into()));
        if let Some(sum) = Money::eur(a).plus(Money::eur(b)) {
            prop_assert_eq!(sum.minus(Money::eur(b)), Some(Money::eur(a)));
        }
    }

    #[test]
    fn money_round_trips_through_json(cents in 0_i64..=1_000_000_000_000) {
        let money = Money::eur(cents);
        let json = serde_json::to_string(&money).expect("encodes");
        prop_assert_eq!(serde_json::from_str::<Money>(&json).expect("decodes"), money);
    }
}
