//! Flash sales: claims, their orders, and a restart in the middle.

use std::time::Duration;

use serde_json::{Value, json};

use super::raw::Reply;
use super::raw::assert_problem;
use super::{Api, Subject, address};

/// Creates a sale of bells that is open for an hour, and returns its id.
async fn open(shop: &Api, units: u32) -> String {
    let now = jiff::Timestamp::now();
    let sale = json!({
        "sku": "WB-BELL-01", "price": {"amount_minor": 99, "currency": "EUR"},
        "allocation": units, "opens_at": now.to_string(),
        "closes_at": (now + Duration::from_secs(3_600)).to_string(),
    });
    let admin = shop.admin().await;
    let created = shop.post("/api/v1/admin/flash-sales", &admin, &sale).await;
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    assert_eq!(
        (&created["state"], &created["left"]),
        (&json!("open"), &json!(units))
    );
    created["id"].as_str().unwrap().to_owned()
}

async fn claim(shop: &Api, sale: &str, token: &str, key: &str) -> Reply {
    let (path, bearer) = (
        format!("/api/v1/flash-sales/{sale}/claims"),
        format!("Bearer {token}"),
    );
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
    shop.ask("POST", &path, &headers, "").await
}

/// Claims a unit, waits until the claim is confirmed, and returns its id.
async fn confirmed(shop: &Api, sale: &str, token: &str, key: &str) -> String {
    let claimed = claim(shop, sale, token, key).await;
    assert_eq!(claimed.status, 202, "{claimed:?}");
    let id = claimed.json()["claim_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/flash-claims/{id}");
    assert_eq!(claimed.header("location"), Some(path.as_str()));
    shop.until(&path, token, |claim| claim["status"] == "confirmed")
        .await;
    id
}

fn order(claim: &str) -> Value {
    json!({"flash_claim_id": claim, "payment_token": "tok_ok", "address": address()})
}

/// A sale from the first claim to the last.
pub async fn a_unit_of_a_flash_sale_is_claimed_confirmed_and_bought_once(shop: Subject) {
    let sale = open(&shop, 2).await;
    let (ann, bob, eve) = (
        shop.shopper().await,
        shop.shopper().await,
        shop.shopper().await,
    );
    let cart = "/api/v1/cart/items/WB-BELL-01";
    shop.call("PUT", cart, &ann, &json!({"quantity": 3})).await;
    let id = confirmed(&shop, &sale, &ann, "a").await;
    let again = claim(&shop, &sale, &ann, "a").await;
    assert_eq!((again.status, &again.json()["claim_id"]), (202, &json!(id)));
    assert_problem(&claim(&shop, &sale, &ann, "b").await, 409, "limit_reached");
    let path = format!("/api/v1/flash-claims/{id}");
    assert_eq!(shop.get(&path, &bob).await.status, 404);
    assert_eq!(shop.place(&bob, "k", &order(&id)).await.status, 404);
    let mut more = order(&id);
    more["items"] = json!([{"sku": "WB-BELL-01", "quantity": 1}]);
    assert_problem(&shop.place(&ann, "i", &more).await, 422, "invalid");
    let mut cheaper = order(&id);
    cheaper["promo_code"] = json!("WELCOME");
    assert_problem(&shop.place(&ann, "p", &cheaper).await, 422, "invalid");
    let placed = shop.place(&ann, "k", &order(&id)).await;
    assert_eq!(placed.status, 202, "{placed:?}");
    assert_eq!(placed.json()["total"]["amount_minor"], json!(99));
    let order_id = placed.json()["order_id"].as_str().unwrap().to_owned();
    shop.wait(&ann, &order_id, &["paid", "shipped", "completed"])
        .await;
    shop.until(&path, &ann, |claim| claim["status"] == "ordered")
        .await;
    assert_problem(&shop.place(&ann, "l", &order(&id)).await, 409, "claim_used");
    let left = shop.get("/api/v1/cart", &ann).await.json();
    assert_eq!(
        left["lines"][0]["quantity"],
        json!(3),
        "the cart is untouched"
    );
    confirmed(&shop, &sale, &bob, "a").await;
    assert_problem(&claim(&shop, &sale, &eve, "a").await, 409, "sold_out");
    assert_problem(&claim(&shop, "nothing", &eve, "a").await, 404, "not_found");
    assert_problem(&claim(&shop, &sale, "", "a").await, 401, "unauthenticated");
}

/// Confirmed claims and idempotency keys survive, and the units left are right.
pub async fn a_flash_sale_goes_on_after_a_restart(mut shop: Subject) {
    let sale = open(&shop, 2).await;
    let (ann, bob, eve) = (
        shop.shopper().await,
        shop.shopper().await,
        shop.shopper().await,
    );
    let id = confirmed(&shop, &sale, &ann, "a").await;
    shop.restart().await;
    let of_sale = |sales: &Value| -> Option<Value> {
        let mut items = sales["items"].as_array()?.iter();
        items.find(|it| it["id"] == json!(sale)).cloned()
    };
    let is_open =
        |sales: &Value| of_sale(sales).is_some_and(|it| it["state"] == "open" && it["left"] == 1);
    shop.until("/api/v1/flash-sales", "", is_open).await;
    let again = claim(&shop, &sale, &ann, "a").await;
    assert_eq!((again.status, &again.json()["claim_id"]), (202, &json!(id)));
    assert_problem(&claim(&shop, &sale, &ann, "b").await, 409, "limit_reached");
    confirmed(&shop, &sale, &bob, "a").await;
    assert_problem(&claim(&shop, &sale, &eve, "a").await, 409, "sold_out");
}
