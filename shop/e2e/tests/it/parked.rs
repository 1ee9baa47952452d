//! Deliveries that cannot be handled now are parked and handled later.

use shop_client::{Order, Shopper};
use shop_e2e::process::{Place, binary, sabotaged};
use shop_e2e::site::Site;
use shop_e2e::verdict::violations;
use shop_e2e::wait::{BOUND, check, until};
use std::path::PathBuf;
use tokio::task::JoinSet;

/// Orders whose mails fill the queue of one user's mails that wait for an address: two mails each, and it holds fifty.
const ORDERS: usize = 26;
/// The subscription whose delivery is parked.
const WELCOME: [&str; 2] = ["notifications", "user_registered"];

#[tokio::test]
async fn a_parked_delivery_is_handled_later() {
    assert_eq!(in_one_process(binary(), None).await, None);
}

#[tokio::test]
async fn losing_a_parked_delivery_is_caught() {
    let lost = in_one_process(sabotaged(), Some("parking")).await;
    let lost = lost.expect("the audit notices the lost delivery");
    assert!(lost.contains(&WELCOME.join(".")), "{lost}");
}

async fn in_one_process(binary: PathBuf, without: Option<&str>) -> Option<String> {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), binary)
        .without(without)
        .ships_after("10ms");
    let running = place.start().await;
    let lost = a_delivery_is_parked(&place.site()).await;
    drop(running);
    lost
}

/// The number of attempts to handle a user's order mails that failed because too many of them wait.
async fn refused(site: &Site, admin: &Shopper) -> u64 {
    let mut times = 0;
    for name in ["order_paid", "order_shipped"] {
        let subscription = site.subscription(admin, "notifications", name).await;
        times += subscription["retried"].as_u64().unwrap();
    }
    times
}

/// Parks a user's welcome mail, because their address is unknown and too many of their mails wait for it, and then
/// delivers the address. Returns the violations that the audit finds once nothing is on its way.
pub(crate) async fn a_delivery_is_parked(site: &Site) -> Option<String> {
    let admin = site.admin().await;
    let pause = async |name, control| site.control(&admin, "notifications", name, control).await;
    pause("remember_address", "pause").await;
    pause("user_registered", "pause").await;
    let (refused_before, parked_before) = (
        refused(site, &admin).await,
        site.settled(WELCOME, "parked").await,
    );

    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let mut orders = JoinSet::new();
    for _ in 0..ORDERS {
        orders.spawn(order(shopper.clone()));
    }
    orders.join_all().await;
    until("too many mails wait", async || {
        let refused = refused(site, &admin).await;
        check(refused > refused_before, "all of them found room")
    })
    .await;

    pause("user_registered", "resume").await;
    // The metric counts what is durable: the address cannot come before the delivery is parked.
    until("the welcome mail is parked", async || {
        let parked = site.settled(WELCOME, "parked").await;
        check(parked > parked_before, "it is not")
    })
    .await;
    pause("remember_address", "resume").await;
    site.until_quiet().await;
    let violations = violations(site).await;
    (!violations.is_empty()).then(|| violations.join("; "))
}

async fn order(shopper: Shopper) {
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
}
