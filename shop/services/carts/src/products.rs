//! The service's copy of the catalogue.

use serde::{Deserialize, Serialize};
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::{Money, Sku};
use wingbeat::{Entity, JsonSchema, schemars};

/// A copy of a product, built from the catalogue's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// The name.
    pub name: String,
    /// The price of one unit.
    pub price: Money,
    /// `true` if the product is no longer sold.
    pub retired: bool,
    /// The catalogue's version.
    pub version: u64,
}

impl Entity for Product {
    const NAME: &'static str = "product_copy";
    type Id = Sku;
}

impl Product {
    /// Returns the copy after a listing; `None` if the event is not newer than the known copy.
    #[must_use]
    pub fn listed(known: Option<&Self>, event: ProductListed) -> Option<Self> {
        is_newer(known, event.version).then_some(Self {
            name: event.name,
            price: event.price.into(),
            retired: false,
            version: event.version,
        })
    }

    /// Returns the copy after a retirement; `None` if the event is not newer than the known copy.
    ///
    /// A retirement that overtakes the listing is stored too, so that the late listing is ignored.
    #[must_use]
    pub fn retired(known: Option<&Self>, event: &ProductRetired) -> Option<Self> {
        is_newer(known, event.version).then(|| Self {
            name: known.map(|known| known.name.clone()).unwrap_or_default(),
            price: known.map(|known| known.price).unwrap_or_default(),
            retired: true,
            version: event.version,
        })
    }
}

fn is_newer(known: Option<&Product>, version: u64) -> bool {
    known.is_none_or(|known| known.version < version)
}

#[cfg(test)]
mod tests {
    use shop_contracts::Price;

    use super::*;

    fn listed(version: u64) -> ProductListed {
        ProductListed {
            sku: "TEA".parse().expect("a SKU"),
            name: format!("Tea {version}"),
            price: Price::new(Money::eur(100)).expect("a price"),
            version,
        }
    }

    #[test]
    fn an_older_event_is_ignored() {
        let second = Product::listed(None, listed(2));
        assert_eq!(second.as_ref().map(|p| p.name.as_str()), Some("Tea 2"));
        assert_eq!(Product::listed(second.as_ref(), listed(1)), None);
        assert_eq!(Product::listed(second.as_ref(), listed(2)), None);
    }

    #[test]
    fn a_retirement_wins_over_an_older_listing_that_comes_later() {
        let sku = "TEA".parse().expect("a SKU");
        let gone = Product::retired(None, &ProductRetired { sku, version: 2 });
        assert!(gone.as_ref().is_some_and(|product| product.retired));
        assert_eq!(Product::listed(gone.as_ref(), listed(1)), None);
        assert!(Product::listed(gone.as_ref(), listed(3)).is_some());
    }
}
