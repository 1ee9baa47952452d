//! Orders placed over HTTP, until they are paid.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shop::start;
use shop_client::{Order, Shop, Shopper};
use shop_system::Settings;
use tokio::task::JoinSet;
use wingbeat::Name;

use crate::{Measured, about};

/// The orders of a run.
const ORDERS: usize = 20_000;
/// Concurrent requests.
const AT_ONCE: usize = 128;
/// Shoppers; they take turns.
const SHOPPERS: usize = 64;

/// Places all orders and waits until the last is paid, with these services only or with all.
pub(crate) async fn run(only: Option<&'static [&'static str]>) -> Measured {
    let directory = tempfile::tempdir().expect("a directory");
    let mut settings = Settings::default();
    settings.listen = "127.0.0.1:0".parse().expect("an address");
    settings.ops_listen = "127.0.0.1:0".parse().expect("an address");
    settings.data = directory.path().into();
    settings.own.rate_limits = false;
    let open = start(&settings).await.expect("it starts");
    let client = Shop::at(&format!("http://{}", open.address)).expect("a URL");
    let shoppers = client.shoppers(SHOPPERS).await.expect("shoppers");
    let skus: Vec<String> = client
        .products()
        .await
        .expect("products")
        .into_iter()
        .filter(|it| it.available > 0)
        .map(|it| it.sku)
        .collect();
    if let Some(only) = only {
        open.host.keep(only).await;
    }
    let before = open
        .backends
        .as_embedded()
        .expect("it runs on files")
        .stats();
    let start = Instant::now();
    place_all(&shoppers, &skus).await;
    let accepted = start.elapsed().as_secs_f64();
    let paid = Name::new("published:orders.order_paid.v1");
    let orders = open.host.reads("orders").expect("it runs");
    loop {
        let counters = orders.counters().await.expect("the store is there");
        let count = counters
            .iter()
            .find(|(name, _)| *name == paid)
            .map_or(0, |(_, count)| *count);
        if count >= ORDERS as i64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = start.elapsed().as_secs_f64();
    let after = open
        .backends
        .as_embedded()
        .expect("it runs on files")
        .stats();
    let about = format!(
        "accepted {:.0}/s; {}",
        ORDERS as f64 / accepted,
        about(&before, &after)
    );
    open.close().await;
    Measured {
        per_second: ORDERS as f64 / took,
        about,
    }
}

async fn place_all(shoppers: &[Shopper], skus: &[String]) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (shopper, skus, next) = (
            shoppers[task % SHOPPERS].clone(),
            skus.to_vec(),
            Arc::clone(&next),
        );
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= ORDERS {
                    return;
                }
                let order = Order::of([(skus[number % skus.len()].clone(), 1)]);
                shopper
                    .place(&order, Duration::from_secs(30))
                    .await
                    .expect("it is accepted");
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
