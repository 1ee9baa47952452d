//! Changes that the admin makes.

use serde_json::{Value, json};

use super::{Subject, order};

/// Products, prices and stock.
pub async fn a_product_is_offered_repriced_and_retired(shop: Subject) {
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let offer = |cents: i64| {
        let price = json!({"amount_minor": cents, "currency": "EUR"});
        json!({"name": "Tea", "description": "", "price": price})
    };
    let path = "/api/v1/admin/products/TEA-1";
    for cents in [450, 430] {
        let put = shop.call("PUT", path, &admin, &offer(cents)).await;
        assert_eq!(put.status, 200, "{put:?}");
        let shown = shop.get("/api/v1/products/TEA-1", "").await.json();
        assert_eq!(shown["price"]["amount_minor"], json!(cents));
    }
    let wrong = shop.call("PUT", path, &admin, &offer(0)).await;
    assert_eq!(
        (wrong.status, wrong.pointer().as_str()),
        (422, "/price/amount_minor")
    );
    for name in ["\u{200b}", "\u{202e}", "Tea\u{202e}", "Tea\n"] {
        let mut strange = offer(430);
        strange["name"] = json!(name);
        let reply = shop.call("PUT", path, &admin, &strange).await;
        assert_eq!(
            (reply.status, reply.pointer().as_str()),
            (422, "/name"),
            "{name:?}"
        );
    }
    let stock = "/api/v1/admin/stock/TEA-1";
    let more = json!({"delta": 5, "reason": "delivered"});
    assert_eq!(shop.post(stock, &admin, &more).await.status, 202);
    let is_there = |product: &Value| product["available"] == json!(5);
    shop.until("/api/v1/products/TEA-1", "", is_there).await;
    let less = json!({"delta": -6, "reason": "lost"});
    let refused = shop.post(stock, &admin, &less).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "below_reserved")
    );
    let retired = shop.call("DELETE", path, &admin, &Value::Null).await;
    assert_eq!(retired.status, 204);
    assert_eq!(shop.get("/api/v1/products/TEA-1", "").await.status, 404);
    let one = json!({"quantity": 1});
    let put = shop
        .call("PUT", "/api/v1/cart/items/TEA-1", &token, &one)
        .await;
    // Carts may not have received the event yet.
    assert!(matches!(put.status, 404 | 200), "{put:?}");
}

/// Pausing and resuming.
pub async fn a_paused_subscription_keeps_its_messages_until_it_is_resumed(shop: Subject) {
    let (admin, token) = (shop.admin().await, shop.shopper().await);
    let path = "/api/v1/admin/subscriptions/inventory/reserve_stock";
    let paused = shop
        .post(&format!("{path}/pause"), &admin, &Value::Null)
        .await;
    assert_eq!(paused.status, 202);
    let id = shop.placed(&token, "k", &order("tok_ok")).await;
    let waits = |all: &Value| {
        let mut items = all["items"].as_array().into_iter().flatten();
        let one = items.find(|it| it["name"] == json!("reserve_stock"));
        one.is_some_and(|it| it["state"] == json!("paused") && it["waiting"] == json!(1))
    };
    shop.until("/api/v1/admin/subscriptions", &admin, waits)
        .await;
    let shown = shop
        .get(&format!("/api/v1/orders/{id}"), &token)
        .await
        .json();
    assert_eq!(shown["status"], json!("placed"));
    let resumed = shop
        .post(&format!("{path}/resume"), &admin, &Value::Null)
        .await;
    assert_eq!(resumed.status, 202);
    shop.wait(&token, &id, &["completed"]).await;
    let unknown = "/api/v1/admin/subscriptions/no/body/pause";
    assert_eq!(shop.post(unknown, &admin, &Value::Null).await.status, 404);
}

/// The operations console: it admits the admin alone, and its forms reach every replica.
pub async fn the_console_pauses_and_resumes_for_the_admin_alone(shop: Subject) {
    let cookie = |token: &str| format!("wingbeat_session={token}");
    let (admin, shopper) = (shop.admin().await, shop.shopper().await);
    let (as_admin, as_shopper) = (cookie(&admin), cookie(&shopper));
    let anonymous = shop.ask("GET", "/console/subscriptions", &[], "").await;
    assert_eq!(
        (anonymous.status, anonymous.header("location")),
        (303, Some("/account?next=%2Fconsole%2Fsubscriptions"))
    );
    for (path, shown) in [
        ("/console", "Who publishes what to whom"),
        ("/console/subscriptions", "reserve_stock"),
        ("/console/dead-letters", "Dead letters"),
        ("/console/outside", "provider"),
        ("/console/schedules", "Schedules"),
        ("/console/stories", "correlation id"),
    ] {
        let page = shop.ask("GET", path, &[("cookie", &as_admin)], "").await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(page.text().contains(shown), "{path}: {page:?}");
        let refused = shop.ask("GET", path, &[("cookie", &as_shopper)], "").await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(
            refused.text().contains("Operators only"),
            "{path}: {refused:?}"
        );
        assert!(
            !refused.text().contains("reserve_stock"),
            "{path}: {refused:?}"
        );
    }
    let control = async |cookie: &str, site: &str, control: &str| {
        let path = format!("/console/subscriptions/inventory/reserve_stock/{control}");
        let headers = [("cookie", cookie), ("sec-fetch-site", site)];
        shop.ask("POST", &path, &headers, "").await.status
    };
    let is = |state: &'static str| {
        move |all: &Value| {
            let mut items = all["items"].as_array().into_iter().flatten();
            let one = items.find(|it| it["name"] == json!("reserve_stock"));
            one.is_some_and(|it| it["state"] == json!(state))
        }
    };
    let list = "/api/v1/admin/subscriptions";
    assert_eq!(control(&as_admin, "cross-site", "pause").await, 403);
    assert_eq!(control(&as_shopper, "same-origin", "pause").await, 403);
    assert_eq!(
        control("", "same-origin", "pause").await,
        303,
        "to the sign-in"
    );
    assert!(is("running")(&shop.get(list, &admin).await.json()));
    for (action, state) in [("pause", "paused"), ("resume", "running")] {
        assert_eq!(control(&as_admin, "same-origin", action).await, 303);
        shop.until(list, &admin, is(state)).await;
    }
}

/// Cancelling. While the provider fails, no order gets as far as its dispatch.
pub async fn an_order_can_be_cancelled_until_it_is_dispatched(shop: Subject) {
    let token = shop.shopper().await;
    let faults = "/dev/provider/faults";
    let outage = json!({"outage": true});
    assert_eq!(shop.call("PUT", faults, "", &outage).await.status, 200);
    let early = shop.placed(&token, "1", &order("tok_ok")).await;
    let cancel = format!("/api/v1/orders/{early}/cancel");
    assert_eq!(shop.post(&cancel, &token, &Value::Null).await.status, 202);
    assert_eq!(shop.call("PUT", faults, "", &json!({})).await.status, 200);
    shop.wait(&token, &early, &["cancelled"]).await;
    assert_eq!(shop.post(&cancel, &token, &Value::Null).await.status, 202);
    let late = &shop.completed(&token, 1).await[0];
    let cancel = format!("/api/v1/orders/{late}/cancel");
    let refused = shop.post(&cancel, &token, &Value::Null).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "not_cancellable")
    );
}
