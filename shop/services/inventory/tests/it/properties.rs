//! Properties of stock and of the lines of orders.

use proptest::prelude::*;
use shop_inventory::domain::{Stock, merged};

proptest! {
    #[test]
    fn stock_is_never_reserved_beyond_what_is_on_hand(
        on_hand in 0_i64..1_000,
        steps in proptest::collection::vec((0_u8..4, 1_u32..50), 0..60),
    ) {
        let mut stock = Stock { on_hand, ..Stock::default() };
        let mut held = Vec::new();
        for (step, quantity) in steps {
            match step {
                0 => {
                    if let Some(more) = stock.hold(quantity) {
                        stock = more;
                        held.push(quantity);
                    }
                }
                1 => stock = held.pop().map_or(stock, |quantity| stock.unhold(quantity)),
                2 => stock = held.pop().map_or(stock, |quantity| stock.take_out(quantity)),
                _ => stock = stock.adjust(i64::from(quantity) - 25).unwrap_or(stock),
            }
            prop_assert!(0 <= stock.reserved && stock.reserved <= stock.on_hand, "{:?}", stock);
            prop_assert_eq!(stock.reserved, held.iter().copied().map(i64::from).sum::<i64>());
        }
    }

    #[test]
    fn merged_lines_contain_each_sku_once_and_keep_the_total(
        lines in proptest::collection::vec((0_usize..5, 1_u32..100), 0..20),
    ) {
        let sku = |number: usize| format!("SKU-{number}").parse().expect("a SKU");
        let lines = lines.into_iter();
        let lines: Vec<_> = lines.map(|(number, quantity)| (sku(number), quantity)).collect();
        let sum: u32 = lines.iter().map(|(_, quantity)| quantity).sum();
        let merged = merged(lines);
        prop_assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert_eq!(merged.iter().map(|(_, quantity)| quantity).sum::<u32>(), sum);
    }
}
