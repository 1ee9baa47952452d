//! What a new shop has to sell: who sells hears of it a moment after it has opened.

use std::time::{Duration, Instant};

use shop_client::Shop;

use crate::fleet::Fleet;

/// Products that a new shop has at least, with stock.
const SEEDED: usize = 12;
/// How long all may take to hear of them.
const HEARD_WITHIN: Duration = Duration::from_secs(120);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(100);
/// How many products are known to who sells and hears of them by messages.
const HEARD_OF: &str = "SELECT LEAST(
    (SELECT count(*) FROM orders.record WHERE tbl = 'product_copy'),
    (SELECT count(*) FROM carts.record WHERE tbl = 'product_copy'))";

/// The products that the catalogue says are on the shelves, once there are so many.
pub(crate) async fn in_stock(shop: &Shop) -> Vec<String> {
    let until = Instant::now() + HEARD_WITHIN;
    loop {
        let products = shop.products().await.unwrap_or_default();
        let there = products.into_iter().filter(|it| it.available > 0);
        let skus: Vec<String> = there.map(|it| it.sku).collect();
        if skus.len() >= SEEDED {
            return skus;
        }
        assert!(Instant::now() < until, "only {skus:?} in stock");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until everybody in the fleet has heard of what was seeded.
pub(crate) async fn heard_of(fleet: &Fleet) {
    in_stock(&fleet.shop()).await;
    let until = Instant::now() + HEARD_WITHIN;
    loop {
        let heard = fleet.servers.store.sql(HEARD_OF);
        if heard.trim().parse::<usize>().unwrap() >= SEEDED {
            return;
        }
        assert!(Instant::now() < until, "of {heard} products is heard");
        tokio::time::sleep(LOOK).await;
    }
}
