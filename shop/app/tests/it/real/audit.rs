//! The audit names what is broken, and only that.

use serde_json::{Value, json};
use shop::audit::{Report, report};

use super::{SOON, Shop, order};

impl Shop {
    async fn report(&self) -> Report {
        let provider = self.open.provider_url.clone();
        report(&self.open.host.sight(), &provider)
            .await
            .expect("it can be asked")
    }

    /// The audit names this invariant, and in it this subject.
    async fn breaks(&self, id: u8, subject: &str) {
        let report = self.report().await;
        let invariant = report
            .invariants
            .iter()
            .find(|it| it.id == id)
            .expect("it is there");
        let named = invariant.violations.iter().any(|it| it.subject == subject);
        assert!(
            !report.ok && !invariant.ok && named,
            "{id} {subject}: {report:?}"
        );
    }

    pub(super) async fn holds(&self) -> Report {
        let report = self.report().await;
        assert!(report.ok, "{report:?}");
        report
    }

    async fn promo(&self, token: &str) -> String {
        let until = tokio::time::Instant::now() + SOON;
        loop {
            let promos = self.get("/api/v1/promotions", token).await.json();
            if let Some(code) = promos["items"][0]["code"].as_str() {
                return code.to_owned();
            }
            assert!(tokio::time::Instant::now() < until);
        }
    }

    /// Orders until orders has heard of the promo, which it rejects before that.
    async fn promoted(&self, token: &str, with_promo: &Value) -> String {
        let until = tokio::time::Instant::now() + SOON;
        for key in 0.. {
            let placed = self.place(token, &format!("promo{key}"), with_promo).await;
            let placed = placed.json()["order_id"].as_str().unwrap().to_owned();
            let ended = self.wait(token, &placed, &["completed", "rejected"]).await;
            if ended["status"] == json!("completed") {
                return placed;
            }
            assert!(tokio::time::Instant::now() < until, "{ended}");
        }
        unreachable!("it ends in time")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_broken_after_all_kinds_of_orders() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let mut placed = Vec::new();
    for number in 0..60 {
        let card = ["tok_ok", "tok_declined", "tok_flaky", "tok_lost_reply"][number % 4];
        let reply = shop.place(&token, &format!("{number}"), &order(card)).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        placed.push(reply.json()["order_id"].as_str().unwrap().to_owned());
        if number % 5 == 0 {
            let cancel = format!("/api/v1/orders/{}/cancel", placed[number]);
            let cancelled = shop.post(&cancel, &token, &Value::Null).await;
            assert!(matches!(cancelled.status, 202 | 409), "{cancelled:?}");
        }
        if number == 30 {
            shop.holds().await; // In the midst of it, too.
        }
    }
    for id in &placed {
        shop.wait(&token, id, &["completed", "rejected", "cancelled"])
            .await;
    }
    let report = shop.holds().await;
    for invariant in report
        .invariants
        .iter()
        .filter(|it| !matches!(it.id, 6 | 8))
    {
        assert!(invariant.checked > 0, "{invariant:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_corruption_is_named() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let mut with_promo = order("tok_ok");
    with_promo["promo_code"] = json!(shop.promo(&token).await);
    let promoted = shop.promoted(&token, &with_promo).await;
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
    shop.breaks(8, &promoted).await;

    shop.count("inventory", "handled:inventory.reserve_stock")
        .await;
    shop.breaks(9, "inventory.reserve_stock").await;

    shop.change_row("orders", "orders", &orders[4], |row| {
        row["payment_delayed"] = json!(true)
    })
    .await;
    shop.breaks(10, &orders[4]).await;
}
