//! Requests that are malformed or out of bounds, and the headers of responses.

use serde_json::{Value, json};

use super::kept::Kept;
use super::raw::assert_problem;
use super::{Subject, address, order};

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
    let compressed = [json_type, auth, key, ("content-encoding", "gzip")];
    let reply = post(&compressed, &order("tok_ok").to_string()).await;
    assert_problem(&reply, 415, "unsupported_media_type");
    for array in [
        r#"[[["WB-BELL-01",1]],null,null,null,"tok_ok",["l","c","p","DE"]]"#,
        r#"{"payment_token":"tok_ok","address":["l","c","p","DE"]}"#,
        r#"{"items":[["WB-BELL-01",1]],"payment_token":"tok_ok","address":{}}"#,
    ] {
        let reply = post(&[json_type, auth, key], array).await;
        assert_problem(&reply, 422, "invalid");
    }
    for (method, path, array) in [
        ("PUT", "/api/v1/cart/items/WB-BELL-01", "[3]"),
        (
            "POST",
            "/api/v1/users",
            r#"["a@b.example","correct horse","Ada"]"#,
        ),
        ("POST", "/dev/shoppers", "[1]"),
        ("PUT", "/dev/provider/faults", "[true]"),
    ] {
        let reply = shop.ask(method, path, &[json_type, auth], array).await;
        assert_problem(&reply, 422, "invalid");
    }
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
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (431, "head_too_large"),
        "{reply:?}"
    );
}

/// U+0000 is the one character that PostgreSQL cannot store. Each value that a request can contain
/// is refused with it, in the way in which other wrong values are refused.
pub async fn no_text_that_a_store_cannot_keep_is_taken_for_an_outage(shop: Subject) {
    let (token, admin) = (shop.shopper().await, shop.admin().await);
    let reply = shop.get("/api/v1/products?search=a%00b", "").await;
    assert_problem(&reply, 422, "invalid");
    assert_eq!(reply.pointer(), "/search");
    let reply = shop.get("/dev/mailbox?to=%00", "").await;
    assert_problem(&reply, 422, "invalid");
    for path in [
        "/api/v1/products/%00",
        "/api/v1/orders/%00",
        "/api/v1/orders/%00/timeline",
    ] {
        assert_problem(&shop.get(path, &token).await, 404, "not_found");
    }
    let letter = "/api/v1/admin/dead-letters/%00";
    assert_problem(&shop.get(letter, &admin).await, 404, "not_found");
    let pause = "/api/v1/admin/subscriptions/orders/%00/pause";
    let reply = shop.post(pause, &admin, &Value::Null).await;
    assert_problem(&reply, 404, "not_found");

    for (method, path, body, pointer) in with_nul() {
        let caller = if path.contains("/admin/") {
            &admin
        } else {
            &token
        };
        let bearer = format!("Bearer {caller}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("idempotency-key", "k"),
        ];
        let reply = shop.ask(method, path, &headers, &body.to_string()).await;
        assert_problem(&reply, 422, "invalid");
        assert_eq!(reply.pointer(), pointer, "{method} {path}: {reply:?}");
    }
    // A long code is no code of the shop.
    let mut long = order("tok_ok");
    long["promo_code"] = json!("A".repeat(101));
    let reply = shop.place(&token, "k", &long).await;
    assert_eq!(
        (reply.status, reply.pointer().as_str()),
        (422, "/promo_code")
    );
}

/// Requests whose bodies contain U+0000, each with the pointer of the field.
fn with_nul() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let nul = "a\0b";
    let password = "a password of a test";
    let sign_up =
        |email: &str, name: &str| json!({"email": email, "password": password, "name": name});
    let sign_in = |email: &str, password: &str| json!({"email": email, "password": password});
    let ordered = |field: &str, value: Value| {
        let mut order = order("tok_ok");
        order[field] = value;
        order
    };
    let offer = |name: &str, description: &str| {
        let price = json!({"amount_minor": 1, "currency": "EUR"});
        json!({"name": name, "description": description, "price": price})
    };
    let street = json!({"line1": nul, "city": "b", "postal_code": "c", "country": "DE"});
    let item = json!([{"sku": nul, "quantity": 1}]);
    let product = "/api/v1/admin/products/GEN-2";
    let (users, sessions, orders) = ("/api/v1/users", "/api/v1/sessions", "/api/v1/orders");
    let password_change = json!({"current": nul, "new": password});
    let stock = json!({"delta": 1, "reason": nul});
    vec![
        ("POST", users, sign_up(nul, "Ada"), "/email"),
        ("POST", users, sign_up("a@b.example", nul), "/name"),
        ("POST", sessions, sign_in(nul, password), "/email"),
        ("POST", sessions, sign_in("a@b.example", nul), "/password"),
        ("PUT", "/api/v1/me/password", password_change, "/current"),
        (
            "POST",
            orders,
            ordered("promo_code", json!(nul)),
            "/promo_code",
        ),
        (
            "POST",
            orders,
            ordered("flash_claim_id", json!(nul)),
            "/flash_claim_id",
        ),
        ("POST", orders, ordered("address", street), "/address/line1"),
        ("POST", orders, ordered("items", item), "/items/0/sku"),
        ("POST", orders, ordered(nul, json!(1)), ""),
        ("PUT", product, offer(nul, ""), "/name"),
        ("PUT", product, offer("a", nul), "/description"),
        ("POST", "/api/v1/admin/stock/GEN-2", stock, "/reason"),
    ]
}

/// A client that keeps its connection, as a proxy does, sends refused requests with bodies. Each is
/// answered, and the next request on the connection too, unless the response closes it.
pub async fn a_refusal_leaves_the_connection_usable_or_closes_it(shop: Subject) {
    let token = shop.shopper().await;
    let bearer = format!("authorization: Bearer {token}\r\n");
    let json = "content-type: application/json\r\n";
    let (small, medium, large) = (10, 30_000, 5 << 20);
    let mut client = Kept::new(shop.address);
    for (method, path, headers, status) in [
        ("POST", "/api/v1/nothing", "", 404),
        ("POST", "/api/v1/orders", json, 401),
        ("PUT", "/api/v1/cart/items/WB-BELL-01", json, 401),
        ("DELETE", "/api/v1/products", "", 405),
        ("POST", "/api/v1/users", "content-type: text/plain\r\n", 415),
        ("PUT", "/api/v1/me/password", bearer.as_str(), 415),
        (
            "POST",
            "/dev/shoppers",
            "sec-fetch-site: cross-site\r\n",
            403,
        ),
        ("POST", "/api/v1/admin/stock/GEN-2", json, 401),
        ("GET", "/api/v1/products", "", 200),
        ("GET", "/", "", 200),
    ] {
        for (size, chunked) in [
            (small, false),
            (medium, false),
            (medium, true),
            (large, false),
        ] {
            let host = shop.address;
            let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}");
            let body = "a".repeat(size);
            if chunked {
                request +=
                    &format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n");
            } else {
                request += &format!("content-length: {size}\r\n\r\n{body}");
            }
            let reply = client.ask(request.as_bytes()).await;
            let too_large = size == large && reply.status == 413;
            assert!(
                reply.status == status || too_large,
                "{method} {path} {size}: {reply:?}"
            );
            if size == small {
                assert_eq!(
                    reply.header("connection"),
                    None,
                    "{method} {path}: {reply:?}"
                );
            }
            let next = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
            let next = client.ask(next.as_bytes()).await;
            assert_eq!(next.status, 200, "after {method} {path} {size}: {next:?}");
        }
    }
    // A client that waits for `100 Continue` has not sent the body of a request that is refused.
    let host = shop.address;
    let waits = format!(
        "POST /api/v1/nothing HTTP/1.1\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    );
    let reply = client.ask(waits.as_bytes()).await;
    assert_eq!(
        (reply.status, reply.header("connection")),
        (404, Some("close"))
    );
}

/// Bytes that hyper refuses by itself.
pub async fn requests_that_are_not_http_are_refused_with_problems(shop: Subject) {
    let many = "x-one: 1\r\n".repeat(200);
    let long = "a".repeat(20_000);
    let mut client = Kept::new(shop.address);
    for (request, status) in [
        ("GET / FOO\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("G\u{1}T / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), 431),
        (
            "POST /api/v1/users HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc"
                .to_owned(),
            400,
        ),
        (
            format!(
                "POST /api/v1/users HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
                shop.address
            ),
            400,
        ),
    ] {
        let reply = client.ask(request.as_bytes()).await;
        let code = if status == 400 {
            "malformed_request"
        } else {
            "head_too_large"
        };
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{reply:?}"
        );
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(reply.header("connection"), Some("close"), "{reply:?}");
    }
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
    let nowhere = json!({"line1": "", "city": "b", "postal_code": "c", "country": "DE"});
    let at = |line1: &str, country: &str| {
        json!({
            "line1": line1, "city": "b", "postal_code": "c", "country": country,
        })
    };
    let dollars = json!({"amount_minor": 1, "currency": "USD"});
    for (order, pointer) in [
        (with("items", item("WB-BELL-01", 0)), "/items/0/quantity"),
        (with("items", item("WB-BELL-01", 100)), "/items/0/quantity"),
        (with("items", item("NO-SUCH", 1)), "/items/0/sku"),
        (with("items", json!([])), "/items"),
        (with("items", twice), "/items/1/sku"),
        (with("payment_token", json!("tok_gold")), "/payment_token"),
        (with("address", nowhere), "/address/line1"),
        (with("address", at("a\nb", "DE")), "/address/line1"),
        (with("address", at("a\u{202e}b", "DE")), "/address/line1"),
        (with("address", at("\u{200b}", "DE")), "/address/line1"),
        (with("address", at("a", "Germany")), "/address/country"),
        (with("address", at("a", "de")), "/address/country"),
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
        // None of these is a cursor; the last one is of no version of the format.
        for cursor in ["%21", "AAAA", "0", "-1", "00", "ffff", "02deadbeef"] {
            let reply = shop.get(&format!("{path}?cursor={cursor}"), &token).await;
            assert_problem(&reply, 400, "bad_cursor");
        }
        let reply = shop.get(&format!("{path}?cursor=%00"), &token).await;
        assert_problem(&reply, 422, "invalid");
    }
    let admin = shop.admin().await;
    for path in [
        "/api/v1/products?surprise=1",
        "/api/v1/orders?surprise=1",
        "/api/v1/orders/01a20c7c-c7ad-7dbe-a3f9-ecf42e693643?surprise=1",
        "/api/v1/admin/dead-letters?surprise=1",
        "/dev/mailbox?surprise=1",
        "/dev/provider/ledger?surprise=1",
    ] {
        assert_problem(&shop.get(path, &admin).await, 422, "invalid");
    }
    let page = shop.get("/api/v1/products?limit=1", "").await.json();
    let cursor = page["next_cursor"].as_str().expect("a second page");
    let of_another_list = format!("/api/v1/orders?cursor={cursor}");
    let reply = shop.get(&of_another_list, &token).await;
    assert_problem(&reply, 400, "bad_cursor");
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

/// Entity tags of a product that nobody orders, security headers everywhere, and no caching of
/// private data.
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
