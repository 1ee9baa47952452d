//! A product, and what may happen to it. Pure.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, Sku};
use wingbeat::aggregate::ViewRow;
use wingbeat::{Entity, JsonSchema, schemars};

use crate::views::ProductRow;

/// The longest name, in characters.
pub const NAME_MAX: usize = 200;
/// The longest description, in characters.
pub const DESCRIPTION_MAX: usize = 2_000;
/// The highest price, in cents: a full order of it is still far from what fits.
pub const PRICE_MAX: i64 = 100_000_000;

/// What is known of a SKU: the listing is ours, the stock is inventory's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// `None` while only inventory has told of it.
    pub listing: Option<Listing>,
    /// How many can be sold.
    pub available: i64,
    /// Inventory's version of that; older news is ignored.
    pub stock_version: u64,
}

/// What is sold under a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Grows by one with each change.
    pub version: u64,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What it costs.
    pub price: Money,
    /// It is not sold any more.
    pub retired: bool,
}

/// What a listing says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What it is called.
    #[schemars(length(min = 1, max = NAME_MAX))]
    pub name: String,
    /// What it is.
    #[schemars(length(max = DESCRIPTION_MAX))]
    pub description: String,
    /// What it costs.
    pub price: Money,
}

/// What an offer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The price, and maybe more.
    Repriced,
    /// Something else, or it is new.
    Listed,
}

impl Entity for Product {
    const NAME: &'static str = "product";
    type Id = Sku;

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let row = ProductRow::of(id, self).into_iter();
        row.map(|row| ViewRow::of(id, &row)).collect()
    }
}

impl Offer {
    /// All that is wrong with it: JSON pointers, and words.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > NAME_MAX {
            faults.push(("/name", "1 to 200 characters"));
        }
        if self.description.chars().count() > DESCRIPTION_MAX {
            faults.push(("/description", "at most 2000 characters"));
        }
        if !(1..=PRICE_MAX).contains(&self.price.amount_minor) {
            faults.push(("/price/amount_minor", "1 to 100000000"));
        }
        faults
    }
}

impl Product {
    /// The listing, if it is sold.
    #[must_use]
    pub fn sold(&self) -> Option<&Listing> {
        self.listing.as_ref().filter(|listing| !listing.retired)
    }

    /// Sold under this offer from now on.
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

    /// Not sold any more; `None` when it was not.
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

    /// With the stock that inventory tells; `None` when that is older than what is known.
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
    fn an_offer_tells_what_it_changes() {
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
    fn what_was_retired_can_be_listed_again() {
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
        let stocked = Product::default().stocked(5, 2).expect("news");
        assert_eq!(stocked.stocked(9, 1), None);
        assert_eq!(stocked.stocked(9, 2), None);
        assert_eq!(stocked.stocked(4, 3).map(|it| it.available), Some(4));
    }

    #[test]
    fn bounds_are_told_by_field() {
        let pointers = |offer: Offer| -> Vec<_> {
            offer
                .faults()
                .into_iter()
                .map(|(pointer, _)| pointer)
                .collect()
        };
        assert!(pointers(offer("Tea", PRICE_MAX)).is_empty());
        assert_eq!(pointers(offer(" ", 0)), ["/name", "/price/amount_minor"]);
    }
}
