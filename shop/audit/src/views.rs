//! Invariant 10: views equal the result of recomputing them from events, and copies equal the
//! owner's data of the same version. `behind` checks that they become as new as the owner's data.

use shop_carts::domain::Cart;
use shop_catalog::domain::Product;
use shop_contracts::Money;
use shop_inventory::domain::Stock;
use shop_inventory::prices::PriceCopy;
use shop_orders::copies::{CartCopy, ProductCopy};
use shop_orders::domain::Order;
use shop_orders::feed::Feed;
use shop_promotions::domain::Promo;
use wingbeat::state::Verified;
use wingbeat::{Entity, Reads, Result};

use super::behind::{Behind, Copy};
use super::{Check, PAGE};
use wingbeat::run::RunningSystem;

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(10, "views equal what their events recompute");
    let orders = system.reads("orders")?;
    aggregates(&orders, &mut check).await?;
    entities::<Feed>(&orders, &mut check).await?;
    entities::<Promo>(&system.reads("promotions")?, &mut check).await?;
    entities::<Product>(&system.reads("catalog")?, &mut check).await?;
    let mut behind = Behind::default();
    products(system, &mut check, &mut behind).await?;
    carts(system, &mut check, &mut behind).await?;
    behind.judge(system, &mut check).await?;
    Ok(check)
}

async fn aggregates(reads: &Reads, check: &mut Check) -> Result<()> {
    let mut after = None;
    loop {
        let verified = reads.verify_aggregates::<Order>(after, PAGE).await?;
        after = verified.next.clone();
        note(check, verified);
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn entities<E: Entity>(reads: &Reads, check: &mut Check) -> Result<()> {
    let mut after = None;
    loop {
        let verified = reads.verify_entities::<E>(after, PAGE).await?;
        after = verified.next.clone();
        note(check, verified);
        if after.is_none() {
            return Ok(());
        }
    }
}

fn note(check: &mut Check, verified: Verified) {
    check.checked += verified.checked;
    for difference in verified.differences {
        check.broken(difference.id, difference.description);
    }
}

/// Compares the copies of products in orders and carts, and of stock in the catalogue.
async fn products(system: &RunningSystem, check: &mut Check, behind: &mut Behind) -> Result<()> {
    let (orders, inventory) = (system.reads("orders")?, system.reads("inventory")?);
    let carts = shop_carts::audit::products(&system.reads("carts")?).await?;
    for (id, product) in shop_catalog::audit::products(&system.reads("catalog")?).await? {
        let Ok(sku) = id.parse() else { continue };
        check.checked += 1;
        if let Some(listing) = &product.listing {
            let copy = orders.entity::<ProductCopy>(&sku).await?;
            let of_orders = copy.map(|it| (it.version, it.retired, it.name, it.price));
            let of_carts = carts.get(&id).cloned();
            let of_carts = of_carts.map(|it| (it.version, it.retired, it.name, it.price));
            let is_older = |known: Option<u64>| known.is_none_or(|it| it < listing.version);
            if is_older(of_orders.as_ref().map(|it| it.0)) {
                behind.suspect(Copy::OfOrders(sku.clone(), listing.version));
            }
            if is_older(of_carts.as_ref().map(|it| it.0)) {
                behind.suspect(Copy::OfCarts(sku.clone(), listing.version));
            }
            let of_inventory = inventory.entity::<PriceCopy>(&sku).await?;
            // A retirement changes no price, so it is not published to inventory.
            if !listing.retired && is_older(of_inventory.map(|it| it.version)) {
                behind.suspect(Copy::OfInventory(sku.clone(), listing.version));
            }
            let price = of_inventory.filter(|it| it.version == listing.version);
            if price.is_some_and(|it| Money::from(it.price) != listing.price) {
                let detail = format!(
                    "inventory knows another price at version {}",
                    listing.version
                );
                check.broken(&id, detail);
            }
            for (who, copy) in [("orders", of_orders), ("carts", of_carts)] {
                let Some((version, retired, name, price)) = copy else {
                    continue;
                };
                let same =
                    (retired, &name, price) == (listing.retired, &listing.name, listing.price);
                if version == listing.version && !same {
                    check.broken(
                        &id,
                        format!("{who} knows another product at version {version}"),
                    );
                }
            }
        }
        let stock = inventory.entity::<Stock>(&sku).await?.unwrap_or_default();
        if stock.version == product.stock_version && stock.available() != product.available {
            let detail = format!(
                "the catalogue shows {} available, inventory has {}",
                product.available,
                stock.available()
            );
            check.broken(&id, detail);
        } else if stock.version > product.stock_version && stock.available() != product.available {
            behind.suspect(Copy::OfCatalog(sku, stock.version, stock.available()));
        }
    }
    Ok(())
}

async fn carts(system: &RunningSystem, check: &mut Check, behind: &mut Behind) -> Result<()> {
    let (orders, carts) = (system.reads("orders")?, system.reads("carts")?);
    let mut after = None;
    loop {
        let page = carts.entities::<Cart>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, Cart { version, lines }) in page {
            let Ok(user) = id.parse() else { continue };
            let copy = orders.entity::<CartCopy>(&user).await?;
            if version > copy.as_ref().map_or(0, |copy| copy.version) {
                behind.suspect(Copy::Cart(user, version));
            }
            let Some(copy) = copy else { continue };
            check.checked += 1;
            if copy.version == version && copy.lines != lines {
                check.broken(
                    &id,
                    format!("orders knows another cart at version {version}"),
                );
            }
        }
        if after.is_none() {
            return Ok(());
        }
    }
}
