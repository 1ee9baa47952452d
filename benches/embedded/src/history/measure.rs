//! Figures of a shop with a history.

use std::path::Path;
use std::time::Instant;

use shop_client::Shop;
use shop_client::http::Call;

use super::settings;
use crate::{peak_mb, resident_mb};

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
    for path in [
        "/api/v1/products",
        "/api/v1/orders",
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
