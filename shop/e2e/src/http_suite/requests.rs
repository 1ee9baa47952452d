//! Requests that are malformed or out of bounds, and the headers of responses.

use serde_json::{Value, json};

use super::raw::Reply;
use super::{Subject, address, order};

pub(super) fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (status, code),
        "{reply:?}"
    );
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = reply.json();
    for field in ["type", "title", "detail", "trace_id"] {
        assert!(
            problem[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {problem}"
        );
    }
    assert_eq!(problem["status"], json!(status));
}

/// Bodies, media types, paths, methods and heads that the shop cannot read.
pub async fn malformed_requests_are_answered_with_problems(shop: Subject) {
    let token = shop.shopper().await;
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    let json_type = ("content-type", "application/json");
    let key = ("idempotency-key", "k");
    let post = async |headers: &[(&str, &str)], body: &str| {
        shop.ask("POST", "/api/v1/orders", headers, body).await
    };
    let reply = post(&[json_type, auth, key], "{").await;
    assert_problem(&reply, 400, "malformed_json");
    let reply = post(&[auth, key], "{}").await;
    assert_problem(&reply, 415, "unsupported_media_type");
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(70_000));
    let reply = post(&[json_type, auth, key], &large).await;
    assert_problem(&reply, 413, "body_too_large");
    let reply = shop
        .ask("PUT", "/api/v1/me/password", &[json_type, auth], &large)
        .await;
    assert_problem(&reply, 413, "body_too_large");
    assert_problem(&shop.get("/api/v1/nothing", "").await, 404, "not_found");
    let reply = shop
        .call("DELETE", "/api/v1/products", "", &Value::Null)
        .await;
    assert_problem(&reply, 405, "method_not_allowed");
    assert!(
        reply
            .header("allow")
            .is_some_and(|allow| allow.contains("GET"))
    );
    let head = "a".repeat(20_000);
    let reply = shop
        .ask("GET", "/api/v1/products", &[("x-long", &head)], "")
        .await;
    assert_eq!(reply.status, 431);
}

/// Validation of orders.
pub async fn problems_name_the_invalid_field(shop: Subject) {
    let token = shop.shopper().await;
    let with = |field: &str, value: Value| {
        let mut order = order("tok_ok");
        order[field] = value;
        order
    };
    let item = |sku: &str, quantity: u32| json!([{"sku": sku, "quantity": quantity}]);
    let twice = json!([{"sku": "WB-BELL-01", "quantity": 1}, {"sku": "WB-BELL-01", "quantity": 1}]);
    let nowhere = json!({"line1": "", "city": "b", "postal_code": "c", "country": "d"});
    let dollars = json!({"amount_minor": 1, "currency": "USD"});
    for (order, pointer) in [
        (with("items", item("WB-BELL-01", 0)), "/items/0/quantity"),
        (with("items", item("WB-BELL-01", 100)), "/items/0/quantity"),
        (with("items", item("NO-SUCH", 1)), "/items/0/sku"),
        (with("items", json!([])), "/items"),
        (with("items", twice), "/items/1/sku"),
        (with("payment_token", json!("tok_gold")), "/payment_token"),
        (with("address", nowhere), "/address/line1"),
        (with("surprise", json!(1)), "/surprise"),
        (with("expected_total", dollars), "/expected_total/currency"),
    ] {
        let reply = shop.place(&token, "k", &order).await;
        assert_eq!(
            (reply.status, reply.pointer().as_str()),
            (422, pointer),
            "{reply:?}"
        );
    }
    let cent = json!({"amount_minor": 1, "currency": "EUR"});
    let reply = shop.place(&token, "k", &with("expected_total", cent)).await;
    assert_problem(&reply, 409, "price_changed");
    let claim = json!("01a20c7c-c7ad-7dbe-a3f9-ecf42e693643");
    let reply = shop
        .place(&token, "k", &with("flash_claim_id", claim))
        .await;
    assert_eq!(reply.status, 404);
    let empty = json!({"payment_token": "tok_ok", "address": address()});
    assert_problem(&shop.place(&token, "k", &empty).await, 422, "cart_empty");
}

/// Limits, cursors and searches.
pub async fn lists_are_paged_within_bounds(shop: Subject) {
    let token = shop.shopper().await;
    for path in ["/api/v1/products", "/api/v1/orders"] {
        for limit in ["0", "101", "x"] {
            let reply = shop.get(&format!("{path}?limit={limit}"), &token).await;
            assert_eq!(reply.status, 422, "{path} {limit}");
        }
        let reply = shop.get(&format!("{path}?cursor=%21"), &token).await;
        assert_problem(&reply, 400, "bad_cursor");
    }
    let first = shop.get("/api/v1/products?limit=7", "").await.json();
    let cursor = first["next_cursor"].as_str().expect("a second page");
    let second = shop
        .get(&format!("/api/v1/products?limit=7&cursor={cursor}"), "")
        .await
        .json();
    assert_eq!(second["items"].as_array().map(Vec::len), Some(6));
    assert_eq!(second["next_cursor"], Value::Null);
    let found = shop.get("/api/v1/products?search=KETTLE", "").await.json();
    assert_eq!(found["items"][0]["sku"], json!("WB-KING-07"));
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}

/// Entity tags of a product that nobody orders, security headers everywhere, and no caching of private data.
pub async fn responses_carry_security_and_cache_headers(shop: Subject) {
    let token = shop.shopper().await;
    let product = "/api/v1/products/WB-KING-07";
    let first = shop.get(product, "").await;
    let tag = first.header("etag").expect("a tag").to_owned();
    let same = [("if-none-match", tag.as_str())];
    assert_eq!(shop.ask("GET", product, &same, "").await.status, 304);
    for path in ["/", "/api/v1/me", "/nowhere", "/healthz"] {
        let reply = shop.get(path, &token).await;
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert!(reply.header("referrer-policy").is_some(), "{path}");
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'self'") && !policy.contains("unsafe"),
            "{path}"
        );
    }
    for path in ["/api/v1/me", "/api/v1/cart"] {
        let reply = shop.get(path, &token).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
    }
}
