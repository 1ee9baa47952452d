//! A product and the changes it allows. Pure.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, NAME_MAX, Price, is_line, is_unprintable};
use wingbeat::{JsonSchema, schemars};

/// The longest description, in characters.
pub const DESCRIPTION_MAX: usize = 2_000;

/// A SKU: its listing, which the catalogue owns, and its stock, which inventory owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// The listing; `None` while only inventory knows the SKU.
    pub listing: Option<Listing>,
    /// The number of units that can be sold.
    pub available: i64,
    /// Inventory's version of `available`; an older one is ignored.
    pub stock_version: u64,
}

/// The public description of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// The version; each change adds one.
    pub version: u64,
    /// The name.
    pub name: String,
    /// The description.
    pub description: String,
    /// The price of one unit.
    pub price: Money,
    /// `true` if the product is no longer sold.
    pub retired: bool,
}

/// The admin's part of a listing: the body of `PUT /admin/products/{sku}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The name.
    #[schemars(length(min = 1, max = NAME_MAX))]
    pub name: String,
    /// The description.
    #[schemars(length(max = DESCRIPTION_MAX))]
    pub description: String,
    /// The price of one unit.
    pub price: Money,
}

/// The effect of an offer on a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The price changed, and possibly the texts.
    Repriced,
    /// The texts changed, or the product is new or was retired.
    Listed,
}

impl Offer {
    /// Returns the invalid fields: a JSON pointer and a message each.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if !is_line(&self.name, NAME_MAX) {
            let rule = "1 to 200 characters, no invisible or control characters";
            faults.push(("/name", rule));
        }
        let is_strange = |c: char| is_unprintable(c) && !matches!(c, '\n' | '\r' | '\t');
        if self.description.chars().count() > DESCRIPTION_MAX
            || self.description.chars().any(is_strange)
        {
            let rule = "at most 2000 characters, no invisible or control characters";
            faults.push(("/description", rule));
        }
        if Price::new(self.price).is_err() {
            faults.push(("/price/amount_minor", "1 to 100000000"));
        }
        faults
    }
}

impl Product {
    /// Returns the listing if the product is for sale.
    #[must_use]
    pub fn sold(&self) -> Option<&Listing> {
        self.listing.as_ref().filter(|listing| !listing.retired)
    }

    /// Returns the product under this offer, and what the offer changes.
    #[must_use]
    pub fn offered(&self, offer: Offer) -> (Self, Change) {
        let Offer {
            name,
            description,
            price,
        } = offer;
        let known = self.listing.as_ref();
        let listing = Listing {
            version: known.map_or(0, |known| known.version) + 1,
            name,
            description,
            price,
            retired: false,
        };
        let change = match known {
            Some(known) if !known.retired && known.price != price => Change::Repriced,
            Some(known)
                if !known.retired
                    && known.name == listing.name
                    && known.description == listing.description =>
            {
                return (self.clone(), Change::Nothing);
            }
            _ => Change::Listed,
        };
        let listing = Some(listing);
        (
            Self {
                listing,
                ..self.clone()
            },
            change,
        )
    }

    /// Returns the retired product; `None` if it is not for sale.
    #[must_use]
    pub fn retired(&self) -> Option<Self> {
        let sold = self.sold()?;
        let listing = Some(Listing {
            version: sold.version + 1,
            retired: true,
            ..sold.clone()
        });
        Some(Self {
            listing,
            ..self.clone()
        })
    }

    /// Returns the product with inventory's stock; `None` if `version` is not newer than the known
    /// one.
    #[must_use]
    pub fn stocked(&self, available: i64, version: u64) -> Option<Self> {
        (version > self.stock_version).then(|| Self {
            available,
            stock_version: version,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, cents: i64) -> Offer {
        Offer {
            name: name.into(),
            description: String::new(),
            price: Money::eur(cents),
        }
    }

    #[test]
    fn an_offer_returns_its_effect() {
        let (tea, change) = Product::default().offered(offer("Tea", 100));
        assert_eq!(change, Change::Listed);
        assert_eq!(
            tea.offered(offer("Tea", 100)),
            (tea.clone(), Change::Nothing)
        );
        assert_eq!(tea.offered(offer("Tea", 90)).1, Change::Repriced);
        assert_eq!(tea.offered(offer("Green tea", 100)).1, Change::Listed);
        let version = |product: &Product| product.sold().map(|listing| listing.version);
        assert_eq!(version(&tea.offered(offer("Tea", 90)).0), Some(2));
    }

    #[test]
    fn a_retired_product_can_be_listed_again() {
        let (tea, _) = Product::default().offered(offer("Tea", 100));
        let gone = tea.retired().expect("it was sold");
        assert_eq!(gone.sold(), None);
        assert_eq!(gone.retired(), None);
        let (again, change) = gone.offered(offer("Tea", 100));
        assert_eq!(change, Change::Listed);
        assert_eq!(again.sold().map(|listing| listing.version), Some(3));
    }

    #[test]
    fn older_stock_is_ignored() {
        let stocked = Product::default().stocked(5, 2).expect("a newer version");
        assert_eq!(stocked.stocked(9, 1), None);
        assert_eq!(stocked.stocked(9, 2), None);
        assert_eq!(stocked.stocked(4, 3).map(|it| it.available), Some(4));
    }

    #[test]
    fn each_invalid_field_is_reported() {
        let pointers = |offer: Offer| -> Vec<_> {
            offer
                .faults()
                .into_iter()
                .map(|(pointer, _)| pointer)
                .collect()
        };
        assert!(pointers(offer("Tea", Price::MAX)).is_empty());
        assert_eq!(pointers(offer(" ", 0)), ["/name", "/price/amount_minor"]);
        assert_eq!(pointers(offer("Tea\nCake", 1)), ["/name"]);
    }
}
