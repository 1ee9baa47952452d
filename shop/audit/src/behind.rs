//! The part of invariant 10 about copies that are older than their owner's data. While a copy's
//! subscription or the owner's outbox has work, the newest version may be on its way.

use shop_carts::products::Product as CartsProduct;
use shop_catalog::domain::Product;
use shop_contracts::{Sku, UserId};
use shop_inventory::prices::PriceCopy;
use shop_orders::copies::{CartCopy, ProductCopy};
use wingbeat::run::{RunningSystem, ops};
use wingbeat::{Name, Result};

use super::{Check, VIOLATIONS_MAX};

/// A copy, and its owner's version of the data.
#[derive(Clone, Debug)]
pub(super) enum Copy {
    /// The listing of a product in orders.
    OfOrders(Sku, u64),
    /// The listing of a product in carts.
    OfCarts(Sku, u64),
    /// The price of a product in inventory.
    OfInventory(Sku, u64),
    /// The units of a product that can be sold, in the catalogue, and their version.
    OfCatalog(Sku, u64, i64),
    /// A cart in orders.
    Cart(UserId, u64),
}

impl Copy {
    /// Returns the owner, and the service with the copy.
    fn parties(&self) -> (&'static str, &'static str) {
        match self {
            Self::OfOrders(..) => ("catalog", "orders"),
            Self::OfCarts(..) => ("catalog", "carts"),
            Self::OfInventory(..) => ("catalog", "inventory"),
            Self::OfCatalog(..) => ("inventory", "catalog"),
            Self::Cart(..) => ("carts", "orders"),
        }
    }

    /// Returns the subscriptions that the copy is built from.
    fn subscriptions(&self) -> &'static [&'static str] {
        match self {
            Self::OfOrders(..) | Self::OfCarts(..) => &["product_listed", "product_retired"],
            Self::OfInventory(..) => &["product_listed"],
            Self::OfCatalog(..) => &["stock_level_changed"],
            Self::Cart(..) => &["cart_changed"],
        }
    }

    /// Returns whether the copy is older than this version of the owner's data.
    async fn is_behind(&self, system: &RunningSystem) -> Result<bool> {
        let reads = system.reads(self.parties().1)?;
        let is_older = |known: Option<u64>, newest: &u64| known.is_none_or(|it| it < *newest);
        Ok(match self {
            Self::OfOrders(sku, newest) => {
                let copy = reads.entity::<ProductCopy>(sku).await?;
                is_older(copy.map(|it| it.version), newest)
            }
            Self::OfCarts(sku, newest) => {
                let copy = reads.entity::<CartsProduct>(sku).await?;
                is_older(copy.map(|it| it.version), newest)
            }
            Self::OfInventory(sku, newest) => {
                let copy = reads.entity::<PriceCopy>(sku).await?;
                is_older(copy.map(|it| it.version), newest)
            }
            // A version with the same units is not published.
            Self::OfCatalog(sku, newest, available) => {
                let copy = reads.entity::<Product>(sku).await?.unwrap_or_default();
                copy.stock_version < *newest && copy.available != *available
            }
            Self::Cart(user, newest) => {
                let copy = reads.entity::<CartCopy>(user).await?;
                is_older(copy.map(|it| it.version), newest)
            }
        })
    }

    fn subject(&self) -> String {
        match self {
            Self::OfOrders(sku, _) | Self::OfCarts(sku, _) => sku.to_string(),
            Self::OfInventory(sku, _) | Self::OfCatalog(sku, ..) => sku.to_string(),
            Self::Cart(user, _) => user.to_string(),
        }
    }

    fn newest(&self) -> u64 {
        match self {
            Self::OfOrders(_, newest) | Self::OfCarts(_, newest) => *newest,
            Self::OfInventory(_, newest) | Self::Cart(_, newest) => *newest,
            Self::OfCatalog(_, newest, _) => *newest,
        }
    }
}

/// The copies that were older than their owner's data at some time.
#[derive(Debug, Default)]
pub(super) struct Behind(Vec<Copy>);

impl Behind {
    /// Remembers a copy that is older. It is compared again by [`Behind::judge`].
    pub(super) fn suspect(&mut self, copy: Copy) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(copy);
        }
    }

    /// Reports the copies that are behind although nothing that could change them is on its way.
    ///
    /// The copies are read once more after it was seen that nothing is on its way, so their owner's
    /// version must have arrived by then.
    pub(super) async fn judge(self, system: &RunningSystem, check: &mut Check) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let look = ops::look(system).await?;
        for copy in self.0 {
            let (owner, holder) = copy.parties();
            let busy = look.iter().any(|it| {
                let is_ours = it.service.as_str() == holder;
                let has_work = it.waiting + it.in_flight > 0;
                is_ours && has_work && copy.subscriptions().contains(&it.name.as_str())
            });
            if busy || unpublished(system, owner).await? {
                continue;
            }
            if copy.is_behind(system).await? {
                let newest = copy.newest();
                let detail = format!("{holder} does not have version {newest} of {owner}");
                check.broken(copy.subject(), detail);
            }
        }
        Ok(())
    }
}

/// Returns whether messages of a service wait for the broker.
async fn unpublished(system: &RunningSystem, service: &str) -> Result<bool> {
    let now = system.ports.runtime.now();
    let backlog = system.ports.store.backlog(Name::intern(service), now);
    Ok(backlog.await?.outbox.count > 0)
}
