//! Checks that the copies of other services' data are as new as their owners' data, once the shop
//! is idle. Those of products and carts are checked in `system`.

use shop_carts::products::Product as CartsProduct;
use shop_catalog::domain::Product;
use shop_contracts::{ClaimId, Money, SaleId, Sku};
use shop_inventory::domain::{ClaimStatus, FlashClaim, FlashSale, Stock};
use shop_inventory::prices::PriceCopy;
use shop_orders::copies::{ClaimCopy, ProductCopy, PromoCopy, SaleCopy};
use shop_promotions::domain::Promo;
use wingbeat::Result;
use wingbeat::run::RunningSystem;
use wingbeat::test::{Violation, World};

const NAME: &str = "every copy becomes equal to its owner's data";

fn wrong(subject: &str, detail: &str) -> Violation {
    Violation::new(NAME, subject, detail)
}

/// Returns the copies that differ.
pub(super) async fn check(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    let mut broken = products(world, system).await?;
    broken.extend(promos(world, system).await?);
    broken.extend(sales(world, system).await?);
    broken.extend(claims(world, system).await?);
    broken.extend(addresses(system).await?);
    Ok(broken)
}

/// Checks the copies of listings in orders, carts and inventory, and of stock in the catalogue.
async fn products(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    let (orders, carts) = (system.reads("orders")?, system.reads("carts")?);
    let inventory = system.reads("inventory")?;
    let mut broken = Vec::new();
    for (id, product) in world.entities::<Product>("catalog") {
        let Ok(sku) = id.parse::<Sku>() else { continue };
        let stock = inventory.entity::<Stock>(&sku).await?.unwrap_or_default();
        if stock.available() != product.available {
            broken.push(wrong(&id, "the catalogue shows other units"));
        }
        let Some(listing) = product.listing else {
            continue;
        };
        let right = Some((listing.name.clone(), listing.price, listing.retired));
        let copy = orders.entity::<ProductCopy>(&sku).await?;
        if copy.map(|it| (it.name, it.price, it.retired)) != right {
            broken.push(wrong(&id, "orders knows another listing"));
        }
        let copy = carts.entity::<CartsProduct>(&sku).await?;
        if copy.map(|it| (it.name, it.price, it.retired)) != right {
            broken.push(wrong(&id, "carts knows another listing"));
        }
        let copy = inventory.entity::<PriceCopy>(&sku).await?;
        if copy.map(|it| Money::from(it.price)) != Some(listing.price) {
            broken.push(wrong(&id, "inventory knows another price"));
        }
    }
    Ok(broken)
}

async fn promos(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    let orders = system.reads("orders")?;
    let mut broken = Vec::new();
    for (code, promo) in world.entities::<Promo>("promotions") {
        let copy = orders.entity::<PromoCopy>(&code).await?;
        let copy = copy.map(|it| (it.user_id, it.percent, it.expires_at));
        if copy != Some((promo.user_id, promo.percent, promo.expires_at)) {
            broken.push(wrong(&code, "orders knows another promo"));
        }
    }
    Ok(broken)
}

async fn sales(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    let orders = system.reads("orders")?;
    let mut broken = Vec::new();
    for (id, sale) in world.entities::<FlashSale>("inventory") {
        let Ok(sale_id) = id.parse::<SaleId>() else {
            continue;
        };
        let copy = orders.entity::<SaleCopy>(&sale_id).await?;
        let copy = copy.map(|it| (it.closes_at, it.claim_ttl_s, it.claim_key));
        let terms = sale.terms;
        if copy != Some((terms.closes_at, terms.claim_ttl_s, terms.key)) {
            broken.push(wrong(&id, "orders knows another flash sale"));
        }
    }
    Ok(broken)
}

async fn claims(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    let orders = system.reads("orders")?;
    let mut broken = Vec::new();
    for (id, claim) in world.entities::<FlashClaim>("inventory") {
        let Ok(claim_id) = id.parse::<ClaimId>() else {
            continue;
        };
        let Some(copy) = orders.entity::<ClaimCopy>(&claim_id).await? else {
            broken.push(wrong(&id, "orders has no copy of the claim"));
            continue;
        };
        let is_right = copy.user_id == claim.user_id
            && match claim.status {
                ClaimStatus::Confirmed => {
                    let until = copy.unit.as_ref().map(|unit| unit.expires_at);
                    !copy.expired && until == Some(claim.expires_at)
                }
                ClaimStatus::Expired => copy.expired,
                ClaimStatus::Rejected => copy.expired && copy.unit.is_none(),
                ClaimStatus::Ordered { order_id }
                | ClaimStatus::Sold { order_id }
                | ClaimStatus::Returned { order_id } => copy.used_by == Some(order_id),
            };
        if !is_right {
            let detail = format!("{:?}, and orders knows {copy:?}", claim.status);
            broken.push(wrong(&id, &detail));
        }
    }
    Ok(broken)
}

/// Checks that notifications has the address and the name of each user.
async fn addresses(system: &RunningSystem) -> Result<Vec<Violation>> {
    let (identity, notifications) = (system.reads("identity")?, system.reads("notifications")?);
    let mut broken = Vec::new();
    for user in shop_identity::audit::registered(&identity).await?.active {
        let owned = shop_identity::audit::person(&identity, user).await?;
        let copy = shop_notifications::audit::person(&notifications, user).await?;
        if owned.is_none() || copy.map(|it| (it.email, it.name)) != owned {
            broken.push(wrong(
                &user.to_string(),
                "notifications knows another address",
            ));
        }
    }
    Ok(broken)
}
