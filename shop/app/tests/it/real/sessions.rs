//! Who may do what.

use serde_json::{Value, json};
use sha2::Digest as _;

use super::{Shop, order};

#[tokio::test(flavor = "multi_thread")]
async fn everything_but_the_public_routes_needs_a_session() {
    let shop = Shop::open().await;
    for (method, path) in [
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/cart"),
        ("PUT", "/api/v1/cart/items/WB-BELL-01"),
        ("GET", "/api/v1/promotions"),
        ("POST", "/api/v1/orders"),
        ("GET", "/api/v1/orders"),
        (
            "GET",
            "/api/v1/orders/01a20c7c-c7ad-7dbe-a3f9-ecf42e693643/timeline",
        ),
        ("GET", "/api/v1/stream"),
        ("DELETE", "/api/v1/sessions/current"),
        ("GET", "/api/v1/admin/audit"),
    ] {
        let reply = shop.call(method, path, "", &json!({})).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (401, "unauthenticated"),
            "{path}"
        );
    }
    let token = shop.shopper().await;
    for (method, path) in [
        ("GET", "/api/v1/admin/audit"),
        ("GET", "/api/v1/admin/subscriptions"),
        ("GET", "/api/v1/admin/dead-letters"),
        ("GET", "/api/v1/admin/breakers"),
        ("PUT", "/api/v1/admin/products/WB-BELL-01"),
        ("DELETE", "/api/v1/admin/products/WB-BELL-01"),
        ("POST", "/api/v1/admin/stock/WB-BELL-01"),
    ] {
        let reply = shop.call(method, path, &token, &json!({})).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "forbidden"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_order_is_an_unknown_one() {
    let shop = Shop::open().await;
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let placed = shop.place(&ada, "k", &order("tok_ok")).await.json();
    let id = placed["order_id"].as_str().unwrap();
    for path in [
        format!("/api/v1/orders/{id}"),
        format!("/api/v1/orders/{id}/timeline"),
    ] {
        assert_eq!(shop.get(&path, &ada).await.status, 200, "{path}");
        assert_eq!(shop.get(&path, &eve).await.status, 404, "{path}");
    }
    let cancel = format!("/api/v1/orders/{id}/cancel");
    assert_eq!(shop.post(&cancel, &eve, &Value::Null).await.status, 404);
    assert_eq!(shop.get("/api/v1/orders/no-id", &ada).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_cookie_must_come_from_our_own_page() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let cookie = format!("wingbeat_session={token}");
    let write = async |more: &[(&str, &str)]| {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("cookie", cookie.as_str()),
        ];
        headers.extend(more);
        let path = "/api/v1/cart/items/WB-BELL-01";
        shop.ask("PUT", path, &headers, r#"{"quantity":1}"#).await
    };
    for foreign in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "http://evil.example")],
    ] {
        let reply = write(foreign).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "cross_site"),
            "{foreign:?}"
        );
    }
    let own = format!("http://{}", shop.address());
    assert_eq!(
        write(&[("sec-fetch-site", "same-origin")]).await.status,
        200
    );
    assert_eq!(write(&[("origin", &own)]).await.status, 200);
    let bearer = format!("Bearer {token}");
    assert_eq!(write(&[("authorization", &bearer)]).await.status, 200);
    let read = shop
        .ask("GET", "/api/v1/cart", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(read.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_a_restart_and_ends_with_the_logout() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let shop = shop.again().await;
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 200);
    let ended = shop
        .call("DELETE", "/api/v1/sessions/current", &token, &Value::Null)
        .await;
    assert_eq!(ended.status, 204);
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_causes_a_cart_a_promo_and_mails_once_each() {
    let shop = Shop::open().await;
    let form = json!({"email": "Ada@b.example", "password": "correct horse", "name": "Ada", "marketing_opt_in": true});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let twin = json!({"email": "ada@B.example", "password": "correct horse", "name": "Eve"});
    assert_eq!(
        shop.post("/api/v1/users", "", &twin).await.code(),
        "email_taken"
    );
    let weak = json!({"email": "x", "password": "password", "name": ""});
    let weak = shop.post("/api/v1/users", "", &weak).await;
    assert_eq!(
        (weak.status, weak.json()["errors"].as_array().map(Vec::len)),
        (422, Some(3))
    );
    let until = tokio::time::Instant::now() + super::SOON;
    loop {
        let mails = shop.get("/dev/mailbox?to=ada@b.example", "").await.json();
        let items = mails["items"].as_array().cloned().unwrap_or_default();
        let mut templates: Vec<_> = items
            .iter()
            .filter_map(|mail| mail["template"].as_str())
            .collect();
        templates.sort_unstable();
        if templates == ["promo", "welcome"] {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{mails}");
    }
    let wrong = json!({"email": "ada@b.example", "password": "wrong horse"});
    for _ in 0..10 {
        assert_eq!(
            shop.post("/api/v1/sessions", "", &wrong).await.code(),
            "invalid_credentials"
        );
    }
    let right = json!({"email": "ada@b.example", "password": "correct horse"});
    let blocked = shop.post("/api/v1/sessions", "", &right).await;
    assert_eq!(blocked.status, 429);
    assert!(blocked.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_ins_are_for_this_machine_only() {
    let shop = Shop::open().await;
    let foreign = [("host", "evil.example")];
    let reply = shop.ask("GET", "/dev/mailbox", &foreign, "").await;
    assert_eq!(reply.status, 403);
    let admin = format!("Bearer {}", shop.admin().await);
    let allowed = [("host", "evil.example"), ("authorization", admin.as_str())];
    assert_eq!(
        shop.ask("GET", "/dev/mailbox", &allowed, "").await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_ends_all_other_sessions() {
    let shop = Shop::open().await;
    let form = json!({"email": "ada@b.example", "password": "correct horse", "name": "Ada"});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let sign_in = async |password: &str| {
        let form = json!({"email": "Ada@b.example", "password": password});
        shop.post("/api/v1/sessions", "", &form).await
    };
    let token = |reply: &super::Reply| {
        reply.json()["token"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (here, there) = (
        sign_in("correct horse").await,
        sign_in("correct horse").await,
    );
    let cookie = here.header("set-cookie").unwrap_or_default();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    let (here, there) = (token(&here), token(&there));
    let change = async |current: &str, new: &str| {
        let body = json!({"current": current, "new": new});
        shop.call("PUT", "/api/v1/me/password", &here, &body).await
    };
    assert_eq!(change("wrong horse", "battery staple").await.status, 403);
    assert_eq!(change("correct horse", "short").await.pointer(), "/new");
    assert_eq!(change("correct horse", "battery staple").await.status, 204);
    assert_eq!(shop.get("/api/v1/me", &here).await.status, 200);
    assert_eq!(shop.get("/api/v1/me", &there).await.status, 401);
    assert_eq!(sign_in("correct horse").await.status, 401);
    assert_eq!(sign_in("battery staple").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_given_no_token_but_its_cookie() {
    let shop = Shop::open().await;
    let form = json!({"email": "ada@b.example", "password": "correct horse", "name": "Ada"});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let headers = [
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    let body = json!({"email": "ada@b.example", "password": "correct horse"}).to_string();
    let reply = shop.ask("POST", "/api/v1/sessions", &headers, &body).await;
    assert_eq!((reply.status, &reply.json()["token"]), (201, &Value::Null));
    let cookie = reply.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let me = shop
        .ask("GET", "/api/v1/me", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(me.status, 200);
}

/// So any service, in any language, knows the caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_lies_under_the_digest_of_its_token() {
    let shop = Shop::open().await;
    let token = shop.shopper().await;
    let digest = |token: &str| hex::encode(sha2::Sha256::digest(token));
    let key = format!("session:{}", digest(&token));
    if let Some(has) = shop.has_key(&key) {
        assert!(has, "Redis has no {key}");
        let other = format!("session:{}", digest("another"));
        assert_eq!(shop.has_key(&other), Some(false));
    }
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 200);
}
