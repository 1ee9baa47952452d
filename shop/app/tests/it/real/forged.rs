//! Forged commands: whoever may write to the broker cannot refund an order.

use serde_json::{Value, json};
use shop_e2e::wait::{check, until};
use wingbeat::RuntimeExt as _;
use wingbeat::ports::{Envelope, Kind};

use super::{Shape, Shop};

impl Shop {
    /// Publishes a refund of an order that claims to come from a service.
    async fn forge_refund(&self, source: &'static str, order: &str) {
        let ports = self.open.host.ports();
        let id = ports.runtime.id();
        let envelope = Envelope {
            id: id.into(),
            source: source.into(),
            kind: "payments.refund_payment.v1".into(),
            role: Kind::Command,
            key: order.to_owned(),
            time: ports.runtime.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: Some(format!("{order}/refund")),
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: json!({"order_id": order}).to_string().into(),
        };
        let published = ports.transport.publish(vec![envelope]).await;
        assert!(published[0].is_ok(), "{published:?}");
    }

    /// Waits until the payment company has so many refunds in its books.
    async fn refunds(&self, count: i64) {
        until("the refunds are booked", async || {
            let database = self.place.data.join("provider.db");
            let ledger = rusqlite::Connection::open(database).unwrap();
            let sql = "SELECT count(*) FROM ledger WHERE kind = 'refund'";
            let booked = ledger.query_row(sql, [], |row| row.get::<_, i64>(0));
            let booked = booked.unwrap();
            check(booked == count, format_args!("{booked} refunds"))
        })
        .await;
    }
}

/// Nobody's refund is carried out; orders are bought, cancelled and refunded as always.
async fn a_forged_refund_becomes_a_dead_letter(shop: Shop) {
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let order = &shop.completed(&token, 1).await[0];
    for source in ["orders", "notifications", "elsewhere"] {
        shop.forge_refund(source, order).await;
    }
    let three = |letters: &Value| letters["items"].as_array().is_some_and(|it| it.len() == 3);
    let path = "/api/v1/admin/dead-letters";
    let letters = shop.until(path, &admin, three).await;
    for letter in letters["items"].as_array().unwrap() {
        assert_eq!(letter["reason"], json!("forged"));
        assert_eq!(letter["subscription"], json!("payments.refund_payment"));
        let retry = format!("{path}/{}/retry", letter["id"].as_str().unwrap());
        assert_eq!(shop.post(&retry, &admin, &Value::Null).await.status, 202);
    }
    // Each became a dead letter of the same reason again.
    let retried = |letters: &Value| {
        let items = letters["items"].as_array();
        items.is_some_and(|items| items.len() == 3 && items.iter().all(|it| it["retries"] == 1))
    };
    let letters = shop.until(path, &admin, retried).await;
    for letter in letters["items"].as_array().unwrap() {
        assert_eq!(letter["reason"], json!("forged"));
    }
    shop.holds().await; // The audit does not count messages that the shop has not published.
    shop.refunds(0).await;
}

/// The negative control: without keys, whoever may write to the broker can refund any order.
async fn without_keys_a_forged_refund_is_carried_out(shop: Shop) {
    let token = shop.shopper().await;
    let order = &shop.completed(&token, 1).await[0];
    shop.refunds(0).await;
    shop.forge_refund("orders", order).await;
    shop.refunds(1).await;
}

mod embedded {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_forged_refund_becomes_a_dead_letter() {
        super::a_forged_refund_becomes_a_dead_letter(Shop::signed(Shape::Embedded).await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_keys_a_forged_refund_is_carried_out() {
        let shop = Shop::open(Shape::Embedded).await;
        super::without_keys_a_forged_refund_is_carried_out(shop).await;
    }
}

mod on_servers {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_forged_refund_becomes_a_dead_letter() {
        super::a_forged_refund_becomes_a_dead_letter(Shop::signed(Shape::OnServers).await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_keys_a_forged_refund_is_carried_out() {
        let shop = Shop::open(Shape::OnServers).await;
        super::without_keys_a_forged_refund_is_carried_out(shop).await;
    }
}
