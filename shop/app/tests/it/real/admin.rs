//! What the admin changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{SOON, Shop, order};

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_offered_repriced_and_retired() {
    let shop = Shop::open().await;
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let offer = |cents: i64| json!({"name": "Tea", "description": "", "price": {"amount_minor": cents, "currency": "EUR"}});
    let path = "/api/v1/admin/products/TEA-1";
    for cents in [450, 430] {
        assert_eq!(
            shop.call("PUT", path, &admin, &offer(cents)).await.status,
            200
        );
        let shown = shop.get("/api/v1/products/TEA-1", "").await.json();
        assert_eq!(shown["price"]["amount_minor"], json!(cents));
    }
    let wrong = shop.call("PUT", path, &admin, &offer(0)).await;
    assert_eq!(
        (wrong.status, wrong.pointer().as_str()),
        (422, "/price/amount_minor")
    );
    let stock = json!({"delta": 5, "reason": "delivered"});
    assert_eq!(
        shop.post("/api/v1/admin/stock/TEA-1", &admin, &stock)
            .await
            .status,
        202
    );
    let until = tokio::time::Instant::now() + SOON;
    while shop.get("/api/v1/products/TEA-1", "").await.json()["available"] != json!(5) {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let less = json!({"delta": -6, "reason": "lost"});
    let refused = shop.post("/api/v1/admin/stock/TEA-1", &admin, &less).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "below_reserved")
    );
    assert_eq!(
        shop.call("DELETE", path, &admin, &Value::Null).await.status,
        204
    );
    assert_eq!(shop.get("/api/v1/products/TEA-1", "").await.status, 404);
    let put = shop
        .call(
            "PUT",
            "/api/v1/cart/items/TEA-1",
            &token,
            &json!({"quantity": 1}),
        )
        .await;
    assert!(matches!(put.status, 404 | 200), "{put:?}"); // The news may still be on its way to carts.
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_subscription_holds_its_work_until_it_is_resumed() {
    let shop = Shop::open().await;
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let path = "/api/v1/admin/subscriptions/inventory/reserve_stock";
    let paused = shop
        .post(&format!("{path}/pause"), &admin, &Value::Null)
        .await;
    assert_eq!(paused.status, 202);
    let placed = shop.place(&token, "k", &order("tok_ok")).await.json();
    let id = placed["order_id"].as_str().unwrap();
    let until = tokio::time::Instant::now() + SOON;
    loop {
        let all = shop.get("/api/v1/admin/subscriptions", &admin).await.json();
        let all = all["items"].as_array().cloned().unwrap_or_default();
        let one = all
            .iter()
            .find(|it| it["name"] == json!("reserve_stock"))
            .unwrap();
        assert_eq!(one["state"], json!("paused"));
        if one["waiting"] == json!(1) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{one}");
    }
    let shown = shop
        .get(&format!("/api/v1/orders/{id}"), &token)
        .await
        .json();
    assert_eq!(shown["status"], json!("placed"));
    let resumed = shop
        .post(&format!("{path}/resume"), &admin, &Value::Null)
        .await;
    assert_eq!(resumed.status, 202);
    shop.wait(&token, id, &["completed"]).await;
    let unknown = shop
        .post(
            "/api/v1/admin/subscriptions/no/body/pause",
            &admin,
            &Value::Null,
        )
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_until_it_is_dispatched() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let placed = shop.place(&token, "1", &order("tok_slow")).await.json();
    let early = placed["order_id"].as_str().unwrap();
    let cancel = format!("/api/v1/orders/{early}/cancel");
    assert_eq!(shop.post(&cancel, &token, &Value::Null).await.status, 202);
    shop.wait(&token, early, &["cancelled"]).await;
    assert_eq!(shop.post(&cancel, &token, &Value::Null).await.status, 202);
    let late = &shop.completed(&token, 1).await[0];
    let refused = shop
        .post(
            &format!("/api/v1/orders/{late}/cancel"),
            &token,
            &Value::Null,
        )
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "not_cancellable")
    );
}
