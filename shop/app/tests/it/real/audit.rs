//! The audit reports each broken invariant and nothing else.

use serde_json::{Value, json};
use shop_audit::{Report, report};
use shop_e2e::http_suite::order;
use shop_e2e::http_suite::orders::{promo, promoted};
use shop_e2e::wait::{check, until};

use super::{Shop, in_both_shapes};

in_both_shapes![
    all_kinds_of_orders_break_nothing,
    each_corruption_is_reported,
];

impl Shop {
    async fn report(&self) -> Report {
        let provider = self.open.state.provider_url.clone();
        report(&self.open.host.snapshot(), &provider).await.unwrap()
    }

    /// Waits until the audit reports this invariant as broken for this subject. It leaves out what
    /// moves while it reads.
    async fn breaks(&self, id: u8, subject: &str) {
        until(&format!("{subject} breaks invariant {id}"), async || {
            let report = self.report().await;
            let mut invariants = report.invariants.iter();
            let invariant = invariants.find(|it| it.id == id).unwrap();
            let reported = invariant.violations.iter().any(|it| it.subject == subject);
            check(
                !report.ok && !invariant.ok && reported,
                format_args!("{report:?}"),
            )
        })
        .await;
    }

    /// Waits until no invariant is broken.
    pub(super) async fn holds(&self) -> Report {
        until("all invariants hold", async || {
            let report = self.report().await;
            check(report.ok, format_args!("{report:?}")).map(|()| report)
        })
        .await
    }
}

async fn all_kinds_of_orders_break_nothing(shop: Shop) {
    let token = shop.shopper().await;
    let mut placed = Vec::new();
    for number in 0..60 {
        let card = ["tok_ok", "tok_declined", "tok_flaky", "tok_lost_reply"][number % 4];
        placed.push(shop.placed(&token, &number.to_string(), &order(card)).await);
        if number % 5 == 0 {
            let cancel = format!("/api/v1/orders/{}/cancel", placed[number]);
            let cancelled = shop.post(&cancel, &token, &Value::Null).await;
            assert!(matches!(cancelled.status, 202 | 409), "{cancelled:?}");
        }
        if number == 30 {
            shop.holds().await; // While orders are processed, too.
        }
    }
    for id in &placed {
        shop.wait(&token, id, &["completed", "rejected", "cancelled"])
            .await;
    }
    // An audit leaves out what moves while it reads. These orders give nothing to check to flash
    // sales and promos, and have reserved nothing any more.
    until("the audit checks all invariants", async || {
        let report = shop.holds().await;
        let mut invariants = report.invariants.iter();
        let unchecked = invariants.find(|it| !matches!(it.id, 6 | 8 | 11) && it.checked == 0);
        check(unchecked.is_none(), format_args!("{unchecked:?}"))
    })
    .await;
}

async fn each_corruption_is_reported(shop: Shop) {
    let token = shop.shopper().await;
    let mut with_promo = order("tok_ok");
    with_promo["promo_code"] = json!(promo(&shop, &token).await);
    let promoted = promoted(&shop, &token, &with_promo).await;
    let promoted = promoted["order_id"].as_str().unwrap();
    let me = shop.get("/api/v1/me", &token).await.json();
    let user = me["user_id"].as_str().unwrap();
    let orders = shop.completed(&token, 5).await;
    shop.holds().await;

    shop.change("inventory", "stock", "WB-BELL-01", |mut stock| {
        stock["on_hand"] = json!(stock["on_hand"].as_i64().unwrap() + 1);
        Some(stock)
    })
    .await;
    shop.breaks(1, "WB-BELL-01").await;

    let again = "INSERT INTO ledger(order_id, kind, amount, at, key)
        SELECT order_id, kind, amount, at, 'again' FROM ledger WHERE order_id = ?1 AND kind = 'capture'";
    shop.change_ledger(again, &orders[0]);
    shop.breaks(2, &orders[0]).await;

    shop.change_ledger(
        "DELETE FROM ledger WHERE order_id = ?1 AND kind = 'capture'",
        &orders[1],
    );
    shop.breaks(3, &orders[1]).await;

    shop.change("orders", "order", &orders[2], |mut order| {
        order["s"]["last"]["status"] = json!("paid");
        Some(order)
    })
    .await;
    shop.breaks(4, &orders[2]).await;

    shop.change("orders", "saga.checkout", &orders[3], |mut saga| {
        saga["ended"] = json!(false);
        saga["timers"] = json!([]);
        saga["updated_at"] = json!("2020-01-01T00:00:00Z");
        Some(saga)
    })
    .await;
    shop.breaks(5, &orders[3]).await;

    shop.change("carts", "cart", user, |_| None).await;
    shop.breaks(7, user).await;

    let code = with_promo["promo_code"].as_str().unwrap();
    shop.change("promotions", "promo", code, |mut promo| {
        promo["used"]["order_id"] = json!(orders[0]);
        Some(promo)
    })
    .await;
    shop.breaks(8, promoted).await;

    shop.count("inventory", "handled:inventory.reserve_stock")
        .await;
    shop.breaks(9, "inventory.reserve_stock").await;

    shop.change_row("orders", "orders", &orders[4], |row| {
        row["payment_delayed"] = json!(true)
    })
    .await;
    shop.breaks(10, &orders[4]).await;

    copies_and_reservations_too(&shop, promoted, code).await;
}

async fn copies_and_reservations_too(shop: &Shop, promoted: &str, code: &str) {
    // Copies that have missed an event.
    let older = |mut copy: Value| {
        copy["version"] = json!(0);
        Some(copy)
    };
    shop.change("carts", "product_copy", "WB-BELL-01", older)
        .await;
    shop.breaks(10, "WB-BELL-01").await;

    shop.change("orders", "order", promoted, |mut order| {
        order["s"]["last"]["at"] = json!("2020-01-01T00:00:00Z");
        Some(order)
    })
    .await;
    shop.change("promotions", "promo", code, |mut promo| {
        promo["used"] = json!({ "state": "reserved", "order_id": promoted });
        Some(promo)
    })
    .await;
    shop.breaks(11, promoted).await;
}
