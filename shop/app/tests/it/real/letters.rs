//! Dead letters: messages that cannot be handled block nobody and can be retried.

use serde_json::{Value, json};
use shop_e2e::http_suite::order;
use wingbeat::RuntimeExt as _;
use wingbeat::ports::{Envelope, Kind};

use super::{Shop, in_both_shapes};

in_both_shapes![
    an_undecodable_message_becomes_a_dead_letter_with_its_reason,
    a_rejected_adjustment_becomes_a_dead_letter_and_can_be_retried,
];

impl Shop {
    /// Publishes a message as a program that is not part of the shop.
    async fn publish(&self, kind: &'static str, key: &str, body: &str) {
        let runtime = &self.open.host.ports().runtime;
        let id = runtime.id();
        let envelope = Envelope {
            id: id.into(),
            source: "elsewhere".into(),
            kind: kind.into(),
            role: Kind::Command,
            key: key.into(),
            time: runtime.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
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

    /// Waits until there are so many dead letters, and returns them.
    async fn letters(&self, admin: &str, count: usize) -> Vec<Value> {
        let items = |letters: &Value| letters["items"].as_array().cloned();
        let counted = |letters: &Value| items(letters).is_some_and(|items| items.len() == count);
        let letters = self
            .until("/api/v1/admin/dead-letters", admin, counted)
            .await;
        items(&letters).unwrap_or_default()
    }

    /// Waits until the only dead letter was retried and has failed again.
    async fn fails_again(&self, admin: &str, letter: &Value) {
        let again = |letters: &Value| {
            let items = letters["items"].as_array();
            items.is_some_and(|items| {
                let is_it = |it: &Value| it["id"] == letter["id"] && it["retries"] == 1;
                items.len() == 1 && is_it(&items[0])
            })
        };
        self.until("/api/v1/admin/dead-letters", admin, again).await;
    }
}

async fn an_undecodable_message_becomes_a_dead_letter_with_its_reason(shop: Shop) {
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
    assert_eq!(whole["headers"]["source"], json!("elsewhere"));
    let retried = shop
        .post(&format!("{path}/retry"), &admin, &Value::Null)
        .await;
    assert_eq!(retried.status, 202);
    shop.fails_again(&admin, letter).await;
    let discarded = shop
        .post(&format!("{path}/discard"), &admin, &Value::Null)
        .await;
    assert_eq!(discarded.status, 202);
    shop.letters(&admin, 0).await;
    shop.holds().await; // The audit does not count messages that the shop has not published.
    assert_eq!(
        shop.get("/api/v1/admin/dead-letters/unknown", &admin)
            .await
            .status,
        404
    );
}

async fn a_rejected_adjustment_becomes_a_dead_letter_and_can_be_retried(shop: Shop) {
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
    let adjusted = |product: &Value| product["available"] == json!(2);
    let product = "/api/v1/products/WB-MART-09";
    shop.until(product, &token, adjusted).await;
    let placed = shop.place(&token, "k", &order("tok_ok")).await;
    assert_eq!(placed.status, 202);
}
