//! The products of a new shop.

use std::sync::Arc;

use shop_contracts::{Money, Sku};
use wingbeat::ServiceContext;
use wingbeat::{Result, Table, run_unit};

use crate::admin::list;
use crate::domain::{Offer, Product};

/// SKU, name, description, price in cents, units.
type Seed = (&'static str, &'static str, &'static str, i64, i64);

/// The products of a new shop.
const SEEDS: [Seed; 13] = [
    (
        "WB-BELL-01",
        "Bellbird Bicycle Bell",
        "Solid brass. One clear note that carries across a square.",
        2450,
        100000,
    ),
    (
        "WB-CAMP-02",
        "Campion Enamel Mug",
        "Holds 350 ml and takes a fall. Speckled like a wren's egg.",
        1490,
        240000,
    ),
    (
        "WB-CHAT-03",
        "Whinchat Notebook",
        "Dotted, 192 pages, lies flat. The paper likes fountain pens.",
        1290,
        180000,
    ),
    (
        "WB-DIPP-04",
        "Dipper Rain Jacket",
        "Three layers, two-way zip, folds into its own pocket.",
        18900,
        100000,
    ),
    (
        "WB-HERN-05",
        "Heron Desk Lamp",
        "A long neck, a warm light, and no hurry. Dims with a touch.",
        12900,
        100000,
    ),
    (
        "WB-KEST-06",
        "Kestrel Kite",
        "Hovers in a light wind. Comes with 60 m of line.",
        3990,
        100000,
    ),
    (
        "WB-KING-07",
        "Kingfisher Kettle",
        "Pours exactly where you look. Enamelled steel, 0.9 l.",
        8450,
        125000,
    ),
    (
        "WB-LARK-08",
        "Skylark Alarm Clock",
        "Starts quietly and means it. Runs two years on one cell.",
        4990,
        100000,
    ),
    (
        "WB-MART-09",
        "Martin Wall Hooks",
        "Set of five in oiled oak. Each holds eight kilos.",
        2790,
        0,
    ),
    (
        "WB-OWL-10",
        "Tawny Night Light",
        "Glows for thirty minutes, then turns its head away.",
        3450,
        100000,
    ),
    (
        "WB-SWFT-11",
        "Swift Running Cap",
        "38 grams. Sheds rain, dries on your head.",
        2990,
        310000,
    ),
    (
        "WB-TERN-12",
        "Arctic Tern Daypack",
        "22 litres for a long way. Recycled sailcloth.",
        11900,
        100000,
    ),
    (
        "WB-WREN-13",
        "Wren Pocket Radio",
        "Smaller than it sounds. FM, DAB and a proper dial.",
        6990,
        100000,
    ),
];

/// A product of a new shop.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// The product.
    pub sku: Sku,
    /// The initial number of units.
    pub units: i64,
}

/// Returns the products of a new shop and their initial stock.
pub fn seeds() -> impl Iterator<Item = Seeded> {
    SEEDS.iter().filter_map(|(sku, _, _, _, units)| {
        let sku = sku.parse().ok()?;
        Some(Seeded { sku, units: *units })
    })
}

/// Lists the products of a new shop. A product that was listed before is left unchanged, even if it
/// was retired or edited since.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read or written.
pub async fn seed(context: &Arc<ServiceContext>) -> Result<()> {
    run_unit(context, |scope| async move {
        let products = Table::<Product>::of(&scope);
        for (sku, name, description, price, _) in SEEDS {
            let Ok(sku) = sku.parse::<Sku>() else {
                continue;
            };
            let known = products.get(&sku).await?.unwrap_or_default();
            if known.listing.is_some() {
                continue;
            }
            let offer = Offer {
                name: name.into(),
                description: description.into(),
                price: Money::eur(price),
            };
            list(&scope, &sku, offer).await?;
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_shop_has_twelve_products_with_a_thousand_units() {
        let plenty = seeds().filter(|seed| seed.units >= 1_000);
        assert!(plenty.count() >= 12);
        assert_eq!(seeds().count(), SEEDS.len(), "each SKU is valid");
    }
}
