//! Figures of a shop with a history.

use std::path::Path;
use std::time::Instant;

use shop_client::http::Call;
use shop_client::{Order, Shop};

use super::{LIMIT, settings};
use crate::{peak_mb, resident_mb};

/// The orders in the list of the user who asks for it.
const ORDERS: usize = 20;

pub(super) async fn run(directory: &Path, orders: usize) {
    for file in ["wingbeat.db", "wingbeat.db-wal", "provider.db"] {
        let bytes = directory.join(file).metadata().map_or(0, |it| it.len());
        let per_order = bytes as f64 / 1024.0 / orders as f64;
        println!("{file}: {} MB, {per_order:.2} KiB per order", bytes >> 20);
    }
    let before = peak_mb();
    let began = Instant::now();
    let open = shop::start(&settings(directory)).await.expect("it starts");
    println!(
        "start: {:.2} s; {} MB resident",
        began.elapsed().as_secs_f64(),
        resident_mb()
    );
    let client = Shop::at(&format!("http://{}", open.address)).expect("a URL");
    let password = shop_client::audit::admin_password(directory).expect("a password");
    let admin = client.admin(&password).await.expect("the admin signs in");
    let shopper = client.shoppers(1).await.expect("a shopper").remove(0);
    let mut newest = String::new();
    let skus = client.products().await.expect("products");
    for product in skus.iter().filter(|it| it.available > 0).take(ORDERS) {
        let order = Order::of([(product.sku.clone(), 1)]);
        let placed = shopper.place(&order, LIMIT).await.expect("it is accepted");
        let ended = shopper.wait_ended(&placed.order_id, LIMIT).await;
        assert_eq!(ended.expect("it ends").status, "completed");
        newest = placed.order_id;
    }
    for path in [
        "/api/v1/products",
        "/api/v1/orders",
        &format!("/api/v1/orders/{newest}"),
        &format!("/api/v1/orders/{newest}/timeline"),
        "/api/v1/promotions",
        "/api/v1/flash-sales",
        "/api/v1/admin/subscriptions",
        "/api/v1/admin/dead-letters",
        "/api/v1/admin/breakers",
        "/dev/mailbox",
    ] {
        let began = Instant::now();
        let of = if path.contains("admin") {
            &admin
        } else {
            &shopper
        };
        let answer = of.ask(Call::get(path)).await.expect("an answer");
        let (status, took) = (answer.status.as_u16(), began.elapsed());
        println!("GET {path}: {status} in {:.1} ms", took.as_secs_f64() * 1e3);
    }
    let resident = resident_mb();
    let began = Instant::now();
    let (report, _) = admin.audit().await.expect("a report");
    println!(
        "audit: ok {} in {:.1} s; {resident} MB resident before, {} MB at most ({before} before the start)",
        report.ok,
        began.elapsed().as_secs_f64(),
        peak_mb()
    );
    for invariant in report.invariants.iter().filter(|it| !it.ok) {
        println!("  broken: {invariant:?}");
    }
    open.close().await;
}
