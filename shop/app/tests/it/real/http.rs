//! What the shop answers to requests that are not as they should be, and to ones that come twice.

use serde_json::{Value, json};

use super::{Reply, Shop, address, order};

fn is_problem(reply: &super::Reply, status: u16, code: &str) {
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

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_read_are_problems() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let bearer = format!("Bearer {token}");
    let auth = ("authorization", bearer.as_str());
    let json_type = ("content-type", "application/json");
    let key = ("idempotency-key", "k");
    let post = async |headers: &[(&str, &str)], body: &str| {
        shop.ask("POST", "/api/v1/orders", headers, body).await
    };
    is_problem(
        &post(&[json_type, auth, key], "{").await,
        400,
        "malformed_json",
    );
    is_problem(
        &post(&[auth, key], "{}").await,
        415,
        "unsupported_media_type",
    );
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(70_000));
    is_problem(
        &post(&[json_type, auth, key], &large).await,
        413,
        "body_too_large",
    );
    let reply = shop
        .ask("PUT", "/api/v1/me/password", &[json_type, auth], &large)
        .await;
    is_problem(&reply, 413, "body_too_large");
    is_problem(&shop.get("/api/v1/nothing", "").await, 404, "not_found");
    let reply = shop
        .call("DELETE", "/api/v1/products", "", &Value::Null)
        .await;
    is_problem(&reply, 405, "method_not_allowed");
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

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_named() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let with = |field: &str, value: Value| {
        let mut order = order("tok_ok");
        order[field] = value;
        order
    };
    let item = |sku: &str, quantity: u32| json!([{"sku": sku, "quantity": quantity}]);
    let twice = json!([{"sku": "WB-BELL-01", "quantity": 1}, {"sku": "WB-BELL-01", "quantity": 1}]);
    for (order, pointer) in [
        (with("items", item("WB-BELL-01", 0)), "/items/0/quantity"),
        (with("items", item("WB-BELL-01", 100)), "/items/0/quantity"),
        (with("items", item("NO-SUCH", 1)), "/items/0/sku"),
        (with("items", json!([])), "/items"),
        (with("items", twice), "/items/1/sku"),
        (with("payment_token", json!("tok_gold")), "/payment_token"),
        (
            with(
                "address",
                json!({"line1": "", "city": "b", "postal_code": "c", "country": "d"}),
            ),
            "/address/line1",
        ),
        (with("surprise", json!(1)), "/surprise"),
        (
            with(
                "expected_total",
                json!({"amount_minor": 1, "currency": "USD"}),
            ),
            "/expected_total/currency",
        ),
    ] {
        let reply = shop.place(&token, "k", &order).await;
        assert_eq!(
            (reply.status, reply.pointer().as_str()),
            (422, pointer),
            "{reply:?}"
        );
    }
    let wrong = with(
        "expected_total",
        json!({"amount_minor": 1, "currency": "EUR"}),
    );
    is_problem(&shop.place(&token, "k", &wrong).await, 409, "price_changed");
    let claim = with(
        "flash_claim_id",
        json!("01a20c7c-c7ad-7dbe-a3f9-ecf42e693643"),
    );
    assert_eq!(shop.place(&token, "k", &claim).await.status, 404);
    let empty = json!({"payment_token": "tok_ok", "address": address()});
    is_problem(&shop.place(&token, "k", &empty).await, 422, "cart_empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_bounds() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    for path in ["/api/v1/products", "/api/v1/orders"] {
        for limit in ["0", "101", "x"] {
            let reply = shop.get(&format!("{path}?limit={limit}"), &token).await;
            assert_eq!(reply.status, 422, "{path} {limit}");
        }
        let reply = shop.get(&format!("{path}?cursor=%21"), &token).await;
        is_problem(&reply, 400, "bad_cursor");
    }
    let first = shop.get("/api/v1/products?limit=7", "").await.json();
    let cursor = first["next_cursor"].as_str().expect("there is more");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_order_also_after_a_restart() {
    let shop = Shop::open().await;
    let (token, other) = (shop.shopper().await, shop.shopper().await);
    let (one, two) = (order("tok_ok"), order("tok_ok"));
    let (first, second) =
        tokio::join!(shop.place(&token, "k", &one), shop.place(&token, "k", &two));
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.json(), second.json());
    let location = format!(
        "/api/v1/orders/{}",
        first.json()["order_id"].as_str().unwrap()
    );
    assert_eq!(first.header("location"), Some(location.as_str()));
    let elsewhere = shop.place(&token, "k", &order("tok_slow")).await;
    is_problem(&elsewhere, 422, "idempotency_key_reused");
    assert_ne!(shop.place(&other, "k", &one).await.json(), first.json());
    let shop = shop.again().await;
    assert_eq!(shop.place(&token, "k", &one).await.json(), first.json());
    let long = "x".repeat(256);
    for key in ["", "two words", long.as_str()] {
        assert_eq!(shop.place(&token, key, &one).await.status, 400, "{key:?}");
    }
    let without = shop.post("/api/v1/orders", &token, &one).await;
    is_problem(&without, 400, "idempotency_key_missing");
}

impl Shop {
    /// Buys the cart, again while orders waits for it in vain.
    async fn buy(&self, token: &str, key: &str, order: &Value) -> Reply {
        let until = tokio::time::Instant::now() + super::SOON;
        loop {
            let placed = self.place(token, key, order).await;
            let waits = placed.status == 503 && placed.json()["code"] == json!("cart_not_ready");
            if !waits || tokio::time::Instant::now() > until {
                return placed;
            }
        }
    }

    async fn emptied(&self, token: &str) {
        let until = tokio::time::Instant::now() + super::SOON;
        while self.get("/api/v1/cart", token).await.json()["lines"] != json!([]) {
            assert!(tokio::time::Instant::now() < until);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_at_once() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    for round in 0..20 {
        let path = "/api/v1/cart/items/WB-BELL-01";
        let cart = shop
            .call("PUT", path, &token, &json!({"quantity": 2}))
            .await;
        assert_eq!(cart.json()["lines"][0]["quantity"], json!(2), "{cart:?}");
        assert_eq!(shop.get("/api/v1/cart", &token).await.json(), cart.json());
        let bought = json!({"payment_token": "tok_ok", "address": address()});
        let placed = shop.buy(&token, &format!("a{round}"), &bought).await;
        assert_eq!(placed.status, 202, "{placed:?}");
        assert_eq!(placed.json()["total"], cart.json()["total"]);
        let id = placed.json()["order_id"].as_str().unwrap().to_owned();
        assert_eq!(
            shop.get(&format!("/api/v1/orders/{id}"), &token)
                .await
                .status,
            200
        );
        let listed = shop.get("/api/v1/orders?limit=1", &token).await.json();
        assert_eq!(listed["items"][0]["order_id"], json!(id));
        let again = shop.place(&token, &format!("b{round}"), &bought).await;
        is_problem(&again, 422, "cart_empty");
        shop.wait(&token, &id, &["paid", "shipped", "completed"])
            .await;
        // Else what was bought might be taken out of the next cart.
        shop.emptied(&token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promo_takes_ten_percent_off_once() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let until = tokio::time::Instant::now() + super::SOON;
    let code = loop {
        let promos = shop.get("/api/v1/promotions", &token).await.json();
        if let Some(code) = promos["items"][0]["code"].as_str() {
            break code.to_lowercase();
        }
        assert!(tokio::time::Instant::now() < until);
    };
    let mut with_code = order("tok_ok");
    with_code["promo_code"] = json!(code);
    // Promotions has issued it; orders takes nothing off until it has heard, and never charges more instead.
    let mut key = 1;
    let placed = loop {
        let placed = shop.place(&token, &key.to_string(), &with_code).await;
        let placed = placed.json();
        if placed["discount"]["amount_minor"] == json!(245) {
            break placed;
        }
        let order_id = placed["order_id"].as_str().unwrap();
        let refused = shop.wait(&token, order_id, &["rejected"]).await;
        assert_eq!(refused["reason"], json!("promo_invalid"));
        assert!(tokio::time::Instant::now() < until);
        key += 1;
    };
    shop.wait(&token, placed["order_id"].as_str().unwrap(), &["completed"])
        .await;
    let second = shop.place(&token, "again", &with_code).await.json();
    let refused = shop
        .wait(&token, second["order_id"].as_str().unwrap(), &["rejected"])
        .await;
    assert_eq!(refused["reason"], json!("promo_invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_a_tag_and_answers_carry_their_headers() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let first = shop.get("/api/v1/products/WB-BELL-01", "").await;
    let tag = first.header("etag").expect("a tag").to_owned();
    let same = [("if-none-match", tag.as_str())];
    let second = shop
        .ask("GET", "/api/v1/products/WB-BELL-01", &same, "")
        .await;
    assert_eq!(second.status, 304);
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
    let me = shop.get("/api/v1/me", &token).await;
    assert_eq!(me.header("cache-control"), Some("no-store"));
    assert_eq!(
        shop.get("/api/v1/cart", &token)
            .await
            .header("cache-control"),
        Some("no-store")
    );
}
