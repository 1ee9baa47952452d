//! What cannot be handled ends as a dead letter, holds nobody up, and can be tried again.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::{Envelope, Kind, RuntimeExt as _};

use super::{SOON, Shop, order};

impl Shop {
    /// Publishes as a stranger would.
    async fn publish(&self, kind: &'static str, key: &str, body: &str) {
        let runtime = &self.open.host.ports().runtime;
        let id = runtime.id();
        let envelope = Envelope {
            id: id.into(),
            source: "stranger".into(),
            kind: kind.into(),
            role: Kind::Command,
            key: key.into(),
            time: runtime.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            body: body.to_owned().into(),
        };
        let published = self
            .open
            .host
            .ports()
            .transport
            .publish(vec![envelope])
            .await;
        assert!(published[0].is_ok(), "{published:?}");
    }

    async fn letters(&self, admin: &str, count: usize) -> Vec<Value> {
        let until = tokio::time::Instant::now() + SOON;
        loop {
            let letters = self.get("/api/v1/admin/dead-letters", admin).await.json();
            let items = letters["items"].as_array().cloned().unwrap_or_default();
            if items.len() == count {
                return items;
            }
            assert!(tokio::time::Instant::now() < until, "{letters}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_set_aside_with_its_reason() {
    let shop = Shop::open().await;
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    shop.publish("inventory.reserve_stock.v1", "x", "{\"order_id\":7}")
        .await;
    let letter = &shop.letters(&admin, 1).await[0];
    assert_eq!(letter["reason"], json!("undecodable"));
    assert_eq!(letter["subscription"], json!("inventory.reserve_stock"));
    assert_eq!(letter["type"], json!("inventory.reserve_stock.v1"));
    assert_eq!(shop.completed(&token, 3).await.len(), 3);

    let path = format!(
        "/api/v1/admin/dead-letters/{}",
        letter["id"].as_str().unwrap()
    );
    let whole = shop.get(&path, &admin).await.json();
    assert_eq!(whole["body"], json!({"order_id": 7}));
    assert_eq!(whole["headers"]["source"], json!("stranger"));
    let retried = shop
        .post(&format!("{path}/retry"), &admin, &Value::Null)
        .await;
    assert_eq!(retried.status, 202);
    let again = &shop.letters(&admin, 1).await[0];
    let path = format!(
        "/api/v1/admin/dead-letters/{}",
        again["id"].as_str().unwrap()
    );
    let discarded = shop
        .post(&format!("{path}/discard"), &admin, &Value::Null)
        .await;
    assert_eq!(discarded.status, 202);
    shop.letters(&admin, 0).await;
    shop.holds().await; // Nobody here has published it, and nobody has lost it.
    assert_eq!(
        shop.get("/api/v1/admin/dead-letters/unknown", &admin)
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_adjustment_is_set_aside_and_can_be_tried_again() {
    let shop = Shop::open().await;
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let id = uuid::Uuid::from_u128(fastrand::u128(..));
    let less = json!({"sku": "WB-MART-09", "delta": -3, "reason": "lost", "adjustment_id": id});
    shop.publish("inventory.adjust_stock.v1", "WB-MART-09", &less.to_string())
        .await;
    let letter = &shop.letters(&admin, 1).await[0];
    assert_eq!(letter["reason"], json!("below_reserved"));
    let more = json!({"delta": 5, "reason": "delivered"});
    let added = shop
        .post("/api/v1/admin/stock/WB-MART-09", &admin, &more)
        .await;
    assert_eq!(added.status, 202);
    let path = format!(
        "/api/v1/admin/dead-letters/{}",
        letter["id"].as_str().unwrap()
    );
    assert_eq!(
        shop.post(&format!("{path}/retry"), &admin, &Value::Null)
            .await
            .status,
        202
    );
    shop.letters(&admin, 0).await;
    let until = tokio::time::Instant::now() + SOON;
    while shop.get("/api/v1/products/WB-MART-09", &token).await.json()["available"] != json!(2) {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let placed = shop.place(&token, "k", &order("tok_ok")).await;
    assert_eq!(placed.status, 202);
}
