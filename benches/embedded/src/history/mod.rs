//! A shop with a long history: what it takes to start it, to audit it and to list its orders.
//!
//! A few orders are made by real requests. Their units of work are recorded, and committed again
//! under other ids, as orders of earlier months, until there are enough.

mod copies;
mod ledger;
mod measure;
mod recorder;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shop::Shop;
use shop_client::Order;
use shop_system::{Settings, roles};
use wingbeat::run::open_on;
use wingbeat::{Ports, TokioRuntime};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

use copies::Template;
use recorder::Recorder;

/// The orders that are made by requests, and the users who make them.
const TEMPLATE: usize = 500;
const USERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(600);

/// Makes a history of so many orders in a directory, unless it has one, and measures the shop.
pub(crate) async fn run(orders: usize, journal: bool, directory: &Path) {
    if !directory.join("wingbeat.db").exists() {
        let began = Instant::now();
        let template = record(directory, journal).await;
        multiply(template, orders, directory).await;
        println!(
            "made {orders} orders in {:.0} s",
            began.elapsed().as_secs_f64()
        );
    }
    measure::run(directory, orders).await;
}

fn settings(directory: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.listen = "127.0.0.1:0".parse().expect("an address");
    settings.ops_listen = "127.0.0.1:0".parse().expect("an address");
    settings.data = directory.into();
    settings.own.rate_limits = false;
    settings.own.shipping_dispatch_after = Duration::from_millis(50);
    settings.own.shipping_deliver_after = Duration::from_millis(50);
    settings
}

/// Makes the first orders, and records their units.
async fn record(directory: &Path, journal: bool) -> Template {
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory)).expect("the directory can be used");
    let cache = EmbeddedCache::open(directory, runtime.clone()).expect("it can be used");
    let recorder = Arc::new(Recorder::new(embedded.clone()));
    let ports = Ports {
        runtime,
        store: recorder.clone(),
        transport: embedded,
        cache,
        http: wingbeat::call::HyperClient::new(),
    };
    let open = open_on(Shop::default(), settings(directory), roles::whole(), ports);
    let open = open.await.expect("it starts");
    let client = shop_client::Shop::at(&format!("http://{}", open.address)).expect("a URL");
    let since = copies::new_id();
    recorder.start();
    let shoppers = client.shoppers(USERS).await.expect("shoppers");
    let products = client.products().await.expect("products");
    let skus: Vec<String> = products
        .into_iter()
        .filter(|it| it.available > 0)
        .map(|it| it.sku)
        .collect();
    for number in 0..TEMPLATE {
        let order = Order::of([(skus[number % skus.len()].clone(), 1)]);
        let shopper = &shoppers[number % USERS];
        let placed = shopper.place(&order, LIMIT).await.expect("it is accepted");
        let ended = shopper.wait_ended(&placed.order_id, LIMIT).await;
        assert_eq!(ended.expect("it ends").status, "completed");
    }
    // Mails and copies follow.
    let queues: Vec<_> = open.host.topology().queues.keys().copied().collect();
    for queue in queues {
        while open
            .backends
            .ports
            .transport
            .depth(queue)
            .await
            .unwrap_or(1)
            > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // What was committed is recorded once the commit has answered.
    open.close().await;
    let units = recorder.stop();
    Template::of(&units, since, journal)
}

/// Commits the copies.
async fn multiply(template: Template, orders: usize, directory: &Path) {
    let store = Embedded::open(&Config::new(directory)).expect("the directory can be used");
    let copies = orders.div_ceil(TEMPLATE).saturating_sub(1);
    // The oldest first: real orders arrive in the order of their ids, too, and fill the pages of
    // the file from the left to the right.
    for (made, copy) in (1..=copies).rev().enumerate() {
        template.commit(&store, copy).await;
        if made % 100 == 99 {
            eprintln!("{} of {orders} orders", (made + 1) * TEMPLATE);
        }
    }
    template.balance(&store, copies).await;
    drop(store);
    ledger::multiply(&directory.join("provider.db"), &template.renaming, copies);
}
