//! The payment provider or a service fails: orders are accepted all the same, and processed
//! afterwards.

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Card, Order, Shopper};
use shop_e2e::process::Place;
use shop_e2e::site::Site;
use shop_e2e::verdict::violations;
use shop_e2e::wait::{BOUND, check, until};

/// Orders placed during an outage.
const ORDERS: usize = 40;

async fn list(admin: &Shopper, path: &str) -> Value {
    let answer = admin.ask(Call::get(path)).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// The state of the breaker for the provider.
async fn breaker(admin: &Shopper) -> String {
    let breakers = list(admin, "/api/v1/admin/breakers").await;
    let mut breakers = breakers["items"].as_array().unwrap().iter();
    let provider = breakers.find(|it| it["name"] == "provider").unwrap();
    provider["state"].as_str().unwrap().to_owned()
}

async fn breaker_is(admin: &Shopper, state: &str) {
    until(&format!("the breaker is {state}"), async || {
        let found = breaker(admin).await;
        check(found == state, found)
    })
    .await;
}

async fn place(shoppers: &[Shopper], card: Card) -> Vec<(usize, String)> {
    let mut placed = Vec::new();
    for number in 0..ORDERS {
        let at = number % shoppers.len();
        let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
        let answer = shoppers[at].place(&order, BOUND).await.unwrap();
        placed.push((at, answer.order_id));
    }
    placed
}

async fn all_are_paid(shoppers: &[Shopper], placed: &[(usize, String)]) {
    for (at, id) in placed {
        let status = shoppers[*at].wait_paid(id, BOUND).await.unwrap();
        assert!(status.is_paid(), "{status:?}");
    }
}

/// No message was given up, and no promise is broken.
async fn nothing_is_lost(site: &Site, admin: &Shopper) {
    let letters = list(admin, "/api/v1/admin/dead-letters").await;
    assert_eq!(letters["items"], json!([]));
    assert_eq!(violations(site).await, Vec::<String>::new());
}

#[tokio::test]
async fn orders_are_accepted_during_an_outage_of_the_provider_and_paid_afterwards() {
    let data = tempfile::tempdir().unwrap();
    let at = Place::new(data.path()).with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "500ms");
    let running = at.start().await;
    let (site, shop) = (at.site(), at.shop());
    let shoppers = shop.shoppers(8).await.unwrap();
    let admin = site.admin().await;

    shop.set_faults(&json!({"outage": true})).await.unwrap();
    let placed = place(&shoppers, Card::Ok).await;
    breaker_is(&admin, "open").await;
    for (at, id) in &placed {
        until("the payment counts as delayed", async || {
            let order = shoppers[*at]
                .order(id)
                .await
                .map_err(|why| why.to_string())?;
            check(order.payment_delayed, format_args!("{order:?}"))
        })
        .await;
    }
    assert!(shop.products().await.unwrap().len() >= 12);

    shop.set_faults(&json!({})).await.unwrap();
    breaker_is(&admin, "closed").await;
    all_are_paid(&shoppers, &placed).await;
    nothing_is_lost(&site, &admin).await;
    drop(running);
}

#[tokio::test]
async fn one_slow_or_flaky_card_never_opens_the_breaker() {
    let data = tempfile::tempdir().unwrap();
    let at = Place::new(data.path()).ships_after("10ms");
    let running = at.start().await;
    let site = at.site();
    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let admin = site.admin().await;
    for card in [Card::Flaky, Card::Slow, Card::LostReply] {
        let order = Order::of([("WB-BELL-01".into(), 1)]).paid_with(card);
        let placed = shopper.place(&order, BOUND).await.unwrap();
        until("the order is paid", async || {
            assert_eq!(breaker(&admin).await, "closed", "{card:?}");
            let order = shopper.order(&placed.order_id).await.unwrap();
            check(order.is_paid(), order.status)
        })
        .await;
    }
    nothing_is_lost(&site, &admin).await;
    drop(running);
}

#[tokio::test]
async fn any_service_may_crash_while_orders_are_processed() {
    let data = tempfile::tempdir().unwrap();
    let at = Place::new(data.path()).ships_after("100ms");
    let running = at.start().await;
    let (site, shop) = (at.site(), at.shop());
    let shoppers = shop.shoppers(8).await.unwrap();
    let admin = site.admin().await;
    let mut all = Vec::new();
    for service in shop_registry::NAMES {
        let path = format!("/dev/services/{service}/crash");
        let call = Call::post(&path);
        let (placed, crashed) = tokio::join!(place(&shoppers, Card::Ok), shop.ask(&call));
        assert_eq!(crashed.unwrap().status, 200, "{service}");
        all.extend(placed);
    }
    for (at, id) in &all {
        let status = shoppers[*at].wait_ended(id, BOUND).await.unwrap();
        assert_eq!(status.status, "completed");
    }
    nothing_is_lost(&site, &admin).await;
    let unknown = Call::post("/dev/services/nobody/crash");
    assert_eq!(shop.ask(&unknown).await.unwrap().status, 404);
    drop(running);
}
