//! Sessions, accounts and permissions.

use serde_json::{Value, json};
use sha2::Digest as _;

use super::raw::Reply;
use super::{Subject, new_email, order};

/// Routes for users and for the admin.
pub async fn only_public_routes_work_without_a_session(shop: Subject) {
    for (method, path) in [
        ("GET", "/api/v1/me"),
        ("DELETE", "/api/v1/me"),
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

/// Reading and cancelling.
pub async fn the_order_of_another_user_is_not_found(shop: Subject) {
    let (ada, eve) = (shop.shopper().await, shop.shopper().await);
    let id = shop.placed(&ada, "k", &order("tok_ok")).await;
    for path in [
        format!("/api/v1/orders/{id}"),
        format!("/api/v1/orders/{id}/timeline"),
    ] {
        assert_eq!(shop.get(&path, &ada).await.status, 200, "{path}");
        assert_eq!(shop.get(&path, &eve).await.status, 404, "{path}");
    }
    let timeline = format!("/api/v1/orders/{id}/timeline");
    let admin = shop.admin().await;
    assert_eq!(
        shop.get(&timeline, &admin).await.status,
        404,
        "it is for the owner"
    );
    let cancel = format!("/api/v1/orders/{id}/cancel");
    assert_eq!(shop.post(&cancel, &eve, &Value::Null).await.status, 404);
    assert_eq!(shop.get("/api/v1/orders/no-id", &ada).await.status, 404);
}

/// Protection against cross-site requests.
pub async fn a_write_with_a_cookie_must_come_from_the_same_site(shop: Subject) {
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
    let own = format!("http://{}", shop.address);
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

/// The life of a session.
pub async fn a_session_survives_a_restart_and_ends_with_the_logout(mut shop: Subject) {
    let token = shop.shopper().await;
    shop.restart().await;
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 200);
    let ended = shop
        .call("DELETE", "/api/v1/sessions/current", &token, &Value::Null)
        .await;
    assert_eq!(ended.status, 204);
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 401);
}

/// Sign-ups, valid and invalid.
pub async fn a_sign_up_creates_a_cart_a_promo_and_one_mail_each(shop: Subject) {
    let email = new_email();
    let form = json!({
        "email": email, "password": "correct horse", "name": "Ada", "marketing_opt_in": true,
    });
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let twin = email.to_lowercase().replace("b.example", "B.example");
    let twin = json!({"email": twin, "password": "correct horse", "name": "Eve"});
    let taken = shop.post("/api/v1/users", "", &twin).await;
    assert_eq!(taken.code(), "email_taken");
    let weak = json!({"email": "x", "password": "password", "name": ""});
    let weak = shop.post("/api/v1/users", "", &weak).await;
    assert_eq!(
        (weak.status, weak.json()["errors"].as_array().map(Vec::len)),
        (422, Some(3))
    );
    let mailbox = format!("/dev/mailbox?to={}", email.to_lowercase());
    let has_both = |mails: &Value| {
        let items = mails["items"].as_array().into_iter().flatten();
        let mut templates: Vec<_> = items.filter_map(|mail| mail["template"].as_str()).collect();
        templates.sort_unstable();
        templates == ["promo", "welcome"]
    };
    shop.until(&mailbox, "", has_both).await;
}

/// The limit on failed sign-ins.
pub async fn too_many_wrong_passwords_block_the_account(shop: Subject) {
    let email = new_email();
    let form = json!({"email": email, "password": "correct horse", "name": "Ada"});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let wrong = json!({"email": email, "password": "wrong horse"});
    for _ in 0..10 {
        let refused = shop.post("/api/v1/sessions", "", &wrong).await;
        assert_eq!(refused.code(), "invalid_credentials");
    }
    let right = json!({"email": email, "password": "correct horse"});
    let blocked = shop.post("/api/v1/sessions", "", &right).await;
    assert_eq!(blocked.status, 429);
    assert!(blocked.header("retry-after").is_some());
}

/// Requests with a foreign host.
pub async fn dev_routes_are_for_this_machine_or_the_admin(shop: Subject) {
    let foreign = [("host", "evil.example")];
    let reply = shop.ask("GET", "/dev/mailbox", &foreign, "").await;
    assert_eq!(reply.status, 403);
    let one = r#"{"count":1}"#;
    let json_type = ("content-type", "application/json");
    for page in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let reply = shop
            .ask("POST", "/dev/shoppers", &[json_type, page], one)
            .await;
        assert_eq!(reply.status, 403, "{page:?}");
    }
    let own = format!("http://{}", shop.address);
    let page = [json_type, ("origin", own.as_str())];
    assert_eq!(
        shop.ask("POST", "/dev/shoppers", &page, one).await.status,
        200
    );
    let admin = format!("Bearer {}", shop.admin().await);
    let allowed = [("host", "evil.example"), ("authorization", admin.as_str())];
    assert_eq!(
        shop.ask("GET", "/dev/mailbox", &allowed, "").await.status,
        200
    );
}

/// Changing the password.
pub async fn a_new_password_ends_all_other_sessions(shop: Subject) {
    let email = new_email();
    let form = json!({"email": email, "password": "correct horse", "name": "Ada"});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let sign_in = async |password: &str| {
        let form = json!({"email": email.to_uppercase(), "password": password});
        shop.post("/api/v1/sessions", "", &form).await
    };
    let token = |reply: &Reply| {
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

/// Signing in from a page.
pub async fn a_browser_gets_a_cookie_and_no_token(shop: Subject) {
    let email = new_email();
    let form = json!({"email": email, "password": "correct horse", "name": "Ada"});
    assert_eq!(shop.post("/api/v1/users", "", &form).await.status, 201);
    let headers = [
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    let body = json!({"email": email, "password": "correct horse"}).to_string();
    let reply = shop.ask("POST", "/api/v1/sessions", &headers, &body).await;
    assert_eq!((reply.status, &reply.json()["token"]), (201, &Value::Null));
    let cookie = reply.header("set-cookie").unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let me = shop
        .ask("GET", "/api/v1/me", &[("cookie", &cookie)], "")
        .await;
    assert_eq!(me.status, 200);
}

/// The key of a session, by which services in any language find it.
pub async fn redis_stores_a_session_under_the_digest_of_its_token(shop: Subject) {
    let token = shop.shopper().await;
    let digest = |token: &str| hex::encode(sha2::Sha256::digest(token));
    let key = format!("session:{}", digest(&token));
    if let Some(has) = shop.has_key(&key) {
        assert!(has, "{key} is not in Redis");
        let other = format!("session:{}", digest("another"));
        assert_eq!(shop.has_key(&other), Some(false));
    }
    assert_eq!(shop.get("/api/v1/me", &token).await.status, 200);
}

/// `DELETE /me` while an order is in flight. Services that run elsewhere handle the event.
pub async fn a_closed_account_is_erased_and_its_orders_end(shop: Subject) {
    let (email, password) = (new_email(), "an old battery");
    let form = json!({"email": email, "password": password, "name": "Ada"});
    let first = shop.post("/api/v1/users", "", &form).await.json();
    let sign_in = json!({"email": email, "password": password});
    let session = shop.post("/api/v1/sessions", "", &sign_in).await.json();
    let token = session["token"].as_str().unwrap_or_default();
    let mailbox = format!("/dev/mailbox?to={email}");
    let welcomed = |mails: &Value| mails["items"].as_array().is_some_and(|it| !it.is_empty());
    shop.until(&mailbox, "", welcomed).await;
    shop.placed(token, "k", &order("tok_ok")).await;
    let wrong = json!({"password": "another battery"});
    let refused = shop.call("DELETE", "/api/v1/me", token, &wrong).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "wrong_password")
    );
    let right = json!({"password": password});
    let erased = shop.call("DELETE", "/api/v1/me", token, &right).await;
    assert_eq!(
        (erased.status, erased.json()),
        (202, json!({"user_id": first["user_id"]}))
    );
    assert_eq!(shop.get("/api/v1/me", token).await.status, 401);
    assert_eq!(shop.get("/api/v1/orders", token).await.status, 401);
    let gone = shop.post("/api/v1/sessions", "", &sign_in).await;
    assert_eq!(gone.code(), "invalid_credentials");
    shop.until(&mailbox, "", |mails| mails["items"] == json!([]))
        .await;
    let again = shop.post("/api/v1/users", "", &form).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_ne!(again.json()["user_id"], first["user_id"]);
}
