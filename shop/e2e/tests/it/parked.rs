//! Deliveries that cannot be handled now are parked, and handled later.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Order, Shop, Shopper};

use shop_e2e::process::{Place, binary};

use crate::controls::sabotaged;

/// Orders whose mails more than fill the place where mails wait for an address: two mails each, and it holds fifty.
const ORDERS: usize = 26;
/// How long something awaited may take.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// A lost delivery counts as lost after this: its first pause is one second.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_parked_delivery_is_handled_later() {
    assert_eq!(in_one_process(binary(), None, SOON).await, None);
}

/// The negative control, long enough for a second pause.
#[tokio::test]
async fn losing_a_parked_delivery_is_caught() {
    let told = in_one_process(sabotaged(), Some("parking"), LOST_AFTER).await;
    names_the_mail(&told.expect("the audit names it"));
}

async fn in_one_process(binary: PathBuf, without: Option<&str>, wait: Duration) -> Option<String> {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), binary)
        .without(without)
        .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "10ms")
        .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "10ms");
    let running = place.start().await;
    let told = broken(&place.shop(), &place.password(), wait).await;
    drop(running);
    told
}

/// The audit says which subscription has lost something.
pub(crate) fn names_the_mail(told: &str) {
    assert!(told.contains("notifications.user_registered"), "{told}");
}

async fn set(admin: &Shopper, subscription: &str, to: &str) {
    let path = format!("/api/v1/admin/subscriptions/notifications/{subscription}/{to}");
    let answer = admin.ask(Call::post(&path)).await.unwrap();
    assert_eq!(answer.status, 202, "{subscription} {to}");
}

/// A figure of a subscription of notifications.
async fn figure(admin: &Shopper, subscription: &str, figure: &str) -> u64 {
    let one = told(admin, "notifications", subscription).await;
    one[figure].as_u64().unwrap()
}

/// How often mails of orders could not even wait for an address so far.
async fn refused(admin: &Shopper) -> u64 {
    let mut times = 0;
    for subscription in ["order_paid", "order_shipped"] {
        times += figure(admin, subscription, "retried").await;
    }
    times
}

/// What is told of a subscription.
pub(crate) async fn told(admin: &Shopper, service: &str, subscription: &str) -> Value {
    let answer = admin
        .ask(Call::get("/api/v1/admin/subscriptions"))
        .await
        .unwrap();
    let all: Value = serde_json::from_slice(&answer.body).unwrap();
    let mut items = all["items"].as_array().unwrap().iter();
    let one = items.find(|it| it["service"] == service && it["name"] == subscription);
    one.unwrap().clone()
}

/// A welcome mail is parked, because nobody says where the user lives and too many mails wait for it;
/// then somebody does. What the audit says is broken, if it is so until the end.
pub(crate) async fn broken(shop: &Shop, password: &str, wait: Duration) -> Option<String> {
    let admin = shop.admin(password).await.unwrap();
    for subscription in ["remember_address", "user_registered"] {
        set(&admin, subscription, "pause").await;
    }
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    let before = refused(&admin).await;
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    for _ in 0..ORDERS {
        let placed = shopper.place(&order, SOON).await.unwrap();
        shopper.wait_ended(&placed.order_id, SOON).await.unwrap();
    }
    // The place is to be full before the welcome comes.
    let until = Instant::now() + SOON;
    while refused(&admin).await == before {
        assert!(Instant::now() < until, "there is room for more mails");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    set(&admin, "user_registered", "resume").await;
    let until = Instant::now() + SOON;
    while figure(&admin, "user_registered", "retried").await < 3 {
        assert!(Instant::now() < until, "never tried");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    set(&admin, "remember_address", "resume").await;
    let until = Instant::now() + wait;
    loop {
        let (report, text) = admin.audit().await.unwrap();
        let welcomed = report
            .invariants
            .iter()
            .any(|it| it.id == 7 && it.checked > 0);
        if report.ok && welcomed {
            return None;
        }
        if Instant::now() > until {
            return Some(text);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
