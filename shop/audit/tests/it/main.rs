//! The audit of the whole system, in virtual time: it reports each broken invariant, and nothing
//! for a system that keeps its promises. `shop/app/tests/it/real/audit.rs` audits the real shop.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod company;
mod shop;

use serde_json::json;
use shop_audit::Report;

use crate::shop::{Orders, Shop};

/// Returns the numbers of the broken invariants.
fn broken(report: &Report) -> Vec<u8> {
    let broken = report.invariants.iter().filter(|it| !it.ok);
    broken.map(|it| it.id).collect()
}

#[test]
fn a_system_that_keeps_its_promises_breaks_nothing() {
    Shop::open(async |shop| {
        shop.orders().await;
        let report = shop.report().await;
        assert!(report.ok, "{report:#?}");
        let ids: Vec<u8> = report.invariants.iter().map(|it| it.id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        // Orders that have ended have nothing reserved any more.
        for invariant in report.invariants.iter().filter(|it| it.id != 11) {
            assert!(invariant.checked > 0, "{invariant:?}");
        }
    });
}

#[test]
fn work_in_flight_breaks_nothing() {
    Shop::open(async |shop| {
        let user = shop.sign_up().await;
        for number in 0..20 {
            shop.order(
                &user,
                &json!({ "items": [{ "sku": "TEA-1", "quantity": 1 }] }),
            )
            .await;
            shop.pass(200 * number).await;
            let report = shop.report().await;
            assert!(report.ok, "after {number} orders: {report:#?}");
        }
    });
}

#[test]
fn each_broken_invariant_is_reported() {
    Shop::open(async |shop| {
        let Orders {
            user,
            plain,
            promo,
            with_promo,
            sale,
        } = shop.orders().await;
        assert!(shop.report().await.ok);

        shop.change("inventory", "stock", "TEA-1", |stock| {
            stock["on_hand"] = json!(stock["on_hand"].as_i64().unwrap() + 1);
        })
        .await;
        shop.breaks(1, "TEA-1").await;

        shop.company.capture_again(&plain[0]);
        shop.breaks(2, &plain[0]).await;

        shop.company.forget_capture(&plain[1]);
        shop.breaks(3, &plain[1]).await;

        shop.change("orders", "order", &plain[2], |order| {
            order["s"]["last"]["status"] = json!("paid");
        })
        .await;
        shop.breaks(4, &plain[2]).await;

        shop.change("orders", "saga.checkout", &plain[3], |saga| {
            saga["ended"] = json!(false);
            saga["timers"] = json!([]);
            saga["updated_at"] = json!("2020-01-01T00:00:00Z");
        })
        .await;
        shop.breaks(5, &plain[3]).await;

        shop.change("inventory", "flash_sale", &sale, |sale| {
            sale["sold"] = json!(sale["sold"].as_i64().unwrap() + 1);
        })
        .await;
        shop.breaks(6, &sale).await;

        shop.remove("carts", "cart", &user).await;
        shop.breaks(7, &user).await;

        shop.change("promotions", "promo", &promo, |promo| {
            promo["used"]["order_id"] = json!(plain[0]);
        })
        .await;
        shop.breaks(8, &with_promo).await;

        shop.count("inventory", "handled:inventory.reserve_stock")
            .await;
        shop.breaks(9, "inventory.reserve_stock").await;

        shop.change_row("orders", "orders", &plain[4], |row| {
            row["payment_delayed"] = json!(true);
        })
        .await;
        let report = shop.breaks(10, &plain[4]).await;
        assert_eq!(
            broken(&report),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            "{report:#?}"
        );
    });
}
