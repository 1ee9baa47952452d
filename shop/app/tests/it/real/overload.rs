//! A shop beyond its memory: it takes no new work, and finishes what it has accepted.

use serde_json::{Value, json};
use shop_e2e::http_suite::order;
use shop_e2e::wait::{check, until};

use super::{Shop, in_both_shapes};

in_both_shapes![a_shop_beyond_its_memory_refuses_buyers_and_finishes_accepted_orders];

const NONE: &str = "00000000-0000-0000-0000-000000000007";

impl Shop {
    /// Returns how many orders were completed, as the store counts them.
    async fn completed_in_store(&self) -> i64 {
        let orders = self.open.host.reads("orders").unwrap();
        let counters = orders.counters().await.unwrap();
        let completed = "published:orders.order_completed.v1";
        let found = counters.iter().find(|(name, _)| name.as_str() == completed);
        found.map_or(0, |(_, count)| *count)
    }

    /// Returns the status and the code of an answer.
    async fn answer(&self, method: &str, path: &str, token: &str) -> (u16, Value) {
        let reply = self.call(method, path, token, &json!({})).await;
        let code = match reply.status {
            200..=299 => Value::Null,
            _ => reply.json()["code"].clone(),
        };
        (reply.status, code)
    }
}

async fn a_shop_beyond_its_memory_refuses_buyers_and_finishes_accepted_orders(shop: Shop) {
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    assert_eq!(shop.answer("GET", "/api/v1/products", "").await.0, 200);
    for key in ["1", "2", "3"] {
        shop.placed(&token, key, &order("tok_ok")).await;
    }
    let shop = shop.again(|it| it.memory_limit = Some(1 << 20)).await;
    let overloaded = (503, Value::from("overloaded"));
    until("the shop refuses requests", async || {
        let answer = shop.answer("GET", "/api/v1/products", "").await;
        check(answer == overloaded, format!("{answer:?}"))
    })
    .await;
    let claim = format!("/api/v1/flash-sales/{NONE}/claims");
    for path in [claim.as_str(), "/api/v1/orders", "/api/v1/sessions"] {
        assert_eq!(
            shop.answer("POST", path, &token).await,
            overloaded,
            "{path}"
        );
    }

    let cancel = format!("/api/v1/orders/{NONE}/cancel");
    assert_eq!(shop.answer("POST", &cancel, &token).await.0, 404);
    assert_eq!(shop.answer("GET", "/readyz", "").await.0, 200);
    let listed = shop.get("/api/v1/admin/overload", &admin).await.json();
    let items = listed["items"].as_array().unwrap();
    let memory = items.iter().find(|it| it["resource"] == "memory").unwrap();
    assert_eq!(memory["level"], 3, "{listed}");
    until("the accepted orders are completed", async || {
        let completed = shop.completed_in_store().await;
        check(completed == 3, completed)
    })
    .await;
    let sign_out = shop.answer("DELETE", "/api/v1/sessions/current", &token);
    assert_eq!(sign_out.await.0, 204);

    let shop = shop.again(|_| ()).await;
    assert_eq!(shop.answer("GET", "/api/v1/products", "").await.0, 200);
    shop.holds().await;
}
