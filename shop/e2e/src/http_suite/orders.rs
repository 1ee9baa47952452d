//! Placing orders: idempotency keys, the cart, promos.

use serde_json::{Value, json};

use super::raw::Reply;
use super::raw::assert_problem;
use super::{Api, Subject, address, order};
use crate::wait::{check, until};

/// Keys are per user, stand for one request, and survive a restart.
pub async fn an_idempotency_key_stands_for_one_order_across_a_restart(mut shop: Subject) {
    let (token, other) = (shop.shopper().await, shop.shopper().await);
    let (one, two) = (order("tok_ok"), order("tok_ok"));
    let (first, second) =
        tokio::join!(shop.place(&token, "k", &one), shop.place(&token, "k", &two));
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.json(), second.json());
    let id = first.json()["order_id"].as_str().unwrap().to_owned();
    let location = format!("/api/v1/orders/{id}");
    assert_eq!(first.header("location"), Some(location.as_str()));
    // The query is no part of the request that a key stands for.
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
        ("idempotency-key", "k"),
    ];
    for query in ["?", "?utm=1", "?utm=2"] {
        let path = format!("/api/v1/orders{query}");
        let again = shop.ask("POST", &path, &headers, &one.to_string()).await;
        assert_eq!(again.json(), first.json(), "{path}");
    }
    let reused = shop.place(&token, "k", &order("tok_slow")).await;
    assert_problem(&reused, 422, "idempotency_key_reused");
    assert_ne!(shop.place(&other, "k", &one).await.json(), first.json());
    shop.restart().await;
    assert_eq!(shop.place(&token, "k", &one).await.json(), first.json());
    let long = "x".repeat(256);
    for key in ["", "two words", long.as_str()] {
        assert_eq!(shop.place(&token, key, &one).await.status, 400, "{key:?}");
    }
    let without = shop.post("/api/v1/orders", &token, &one).await;
    assert_problem(&without, 400, "idempotency_key_missing");
}

/// Buys the cart, and repeats the request while orders has not received the cart.
async fn buy(shop: &Api, token: &str, key: &str, order: &Value) -> Reply {
    until("orders has the cart", async || {
        let placed = shop.place(token, key, order).await;
        let ready = placed.code() != "cart_not_ready";
        check(ready, placed.status).map(|()| placed)
    })
    .await
}

/// The cart, the order and the list of orders.
pub async fn writes_are_visible_to_the_next_read(shop: Subject) {
    let token = shop.shopper().await;
    for round in 0..20 {
        let path = "/api/v1/cart/items/WB-BELL-01";
        let cart = shop
            .call("PUT", path, &token, &json!({"quantity": 2}))
            .await;
        assert_eq!(cart.json()["lines"][0]["quantity"], json!(2), "{cart:?}");
        assert_eq!(shop.get("/api/v1/cart", &token).await.json(), cart.json());
        let bought = json!({"payment_token": "tok_ok", "address": address()});
        let placed = buy(&shop, &token, &format!("a{round}"), &bought).await;
        assert_eq!(placed.status, 202, "{placed:?}");
        assert_eq!(placed.json()["total"], cart.json()["total"]);
        let id = placed.json()["order_id"].as_str().unwrap().to_owned();
        let shown = shop.get(&format!("/api/v1/orders/{id}"), &token).await;
        assert_eq!(shown.status, 200);
        let listed = shop.get("/api/v1/orders?limit=1", &token).await.json();
        assert_eq!(listed["items"][0]["order_id"], json!(id));
        let again = shop.place(&token, &format!("b{round}"), &bought).await;
        assert_problem(&again, 422, "cart_empty");
        shop.wait(&token, &id, &["paid", "shipped", "completed"])
            .await;
        // The event that empties the cart could otherwise take the next round's items out.
        let is_empty = |cart: &Value| cart["lines"] == json!([]);
        shop.until("/api/v1/cart", &token, is_empty).await;
    }
}

/// Waits for the shopper's welcome promo and returns its code.
pub async fn promo(shop: &Api, token: &str) -> String {
    let is_there = |promos: &Value| promos["items"][0]["code"].is_string();
    let promos = shop.until("/api/v1/promotions", token, is_there).await;
    promos["items"][0]["code"].as_str().unwrap().to_owned()
}

/// Places orders with a promo until orders knows it, and returns the first one that is not
/// rejected.
///
/// Orders rejects a promo that it has not heard of; it never charges more instead.
pub async fn promoted(shop: &Api, token: &str, with_promo: &Value) -> Value {
    let mut attempt = 0;
    until("orders knows the promo", async || {
        attempt += 1;
        let key = format!("promo{attempt}");
        let placed = shop.place(token, &key, with_promo).await.json();
        let id = placed["order_id"].as_str().unwrap();
        let ended = shop.wait(token, id, &["completed", "rejected"]).await;
        let known = ended["status"] == json!("completed");
        if !known {
            assert_eq!(ended["reason"], json!("promo_invalid"));
        }
        check(known, &ended).map(|()| placed)
    })
    .await
}

/// The welcome promo.
pub async fn a_promo_reduces_one_order_by_ten_percent(shop: Subject) {
    let token = shop.shopper().await;
    let mut with_promo = order("tok_ok");
    with_promo["promo_code"] = json!(promo(&shop, &token).await.to_lowercase());
    let placed = promoted(&shop, &token, &with_promo).await;
    assert_eq!(placed["discount"]["amount_minor"], json!(245));
    let second = shop.placed(&token, "again", &with_promo).await;
    let rejected = shop.wait(&token, &second, &["rejected"]).await;
    assert_eq!(rejected["reason"], json!("promo_invalid"));
}
