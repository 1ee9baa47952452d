//! The shop on real servers without one of its mechanisms, in scenes in which no process dies. With
//! all mechanisms it passes every scene.

use serde_json::json;
use shop_client::http::Call;
use shop_client::{Order, Shopper};
use shop_e2e::fleet::{Fleet, Plan};
use shop_e2e::ledger::Ledger;
use shop_e2e::site::{Site, sum};
use shop_e2e::verdict::violations;
use shop_e2e::wait::{BOUND, check, until};
use tokio::task::JoinSet;

use crate::parked;
use crate::shared::{WHOLE, sabotage};

/// The product of the sale, and its stock.
const WANTED: &str = "WB-OWL-10";
const IN_SALE: i64 = 5;
/// Shoppers in a sale, who each want one.
const CROWD: usize = 40;
/// The sales until a shop that sells more than it has must have done so. One is usually enough.
const SALES: usize = 8;
/// The sales that a whole shop passes.
const WHOLE_SALES: usize = 2;
/// A product that nobody else orders.
const QUIET: &str = "WB-BELL-01";
/// Parcels that are followed, and the messages that their service handles for them: a command and
/// two timers each.
const PARCELS: usize = 10;
const PARCELS_HANDLED: f64 = 30.0;
/// The payment of an order that waits for its authorization.
const AUTHORIZE: [&str; 2] = ["payments", "authorize_payment"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_shop_passes_every_scene() {
    let fleet = WHOLE.alone().await;
    let site = fleet.site();
    let found = [
        a_cancel_overtakes_the_order(&site).await,
        a_payment_is_requested_twice(&site).await,
        a_sale_begins(&site, WHOLE_SALES).await,
        timers_are_due(&fleet).await,
        parked::a_delivery_is_parked(&site).await,
    ];
    assert_eq!(found, [const { None }; 5]);
}

/// Runs a scene in a shop without the mechanism; the scene must find something that contains this
/// word.
async fn is_caught(
    mechanism: &str,
    plan: Plan,
    scene: impl AsyncFnOnce(&Fleet) -> Option<String>,
    word: &str,
) {
    let fleet = sabotage(plan, Some(mechanism)).start().await;
    let found = scene(&fleet).await;
    let found = found.unwrap_or_else(|| panic!("without {mechanism}: nothing was noticed"));
    assert!(found.contains(word), "without {mechanism}: {found}");
    println!("without {mechanism}: {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_an_early_compensation_is_caught_on_real_servers() {
    let scene = async |fleet: &Fleet| a_cancel_overtakes_the_order(&fleet.site()).await;
    is_caught("tombstone", Plan::around("inventory", 1), scene, "reserved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeating_a_command_that_is_sent_again_is_caught_on_real_servers() {
    let scene = async |fleet: &Fleet| a_payment_is_requested_twice(&fleet.site()).await;
    is_caught("operation-id", Plan::around("payments", 1), scene, "booked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_stock_that_was_checked_earlier_is_caught_on_real_servers() {
    let scene = async |fleet: &Fleet| a_sale_begins(&fleet.site(), SALES).await;
    is_caught("stock-check", Plan::around("inventory", 2), scene, WANTED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_a_parked_delivery_is_caught_on_real_servers() {
    let scene = async |fleet: &Fleet| parked::a_delivery_is_parked(&fleet.site()).await;
    let word = "notifications.user_registered";
    is_caught("parking", Plan::around("notifications", 1), scene, word).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_fire_twice_are_caught_on_real_servers() {
    is_caught(
        "timer-once",
        Plan::around("shipping", 1),
        timers_are_due,
        "handled",
    )
    .await;
}

/// The commands of one order are handled in another order than they were sent: the release comes
/// before the reservation, which must then reserve nothing.
async fn a_cancel_overtakes_the_order(site: &Site) -> Option<String> {
    let admin = site.admin().await;
    let before = available(site, QUIET).await;
    let control = async |control| {
        site.control(&admin, "inventory", "reserve_stock", control)
            .await;
    };
    control("pause").await;
    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let order = Order::of([(QUIET.into(), 2)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    shopper.cancel(&placed.order_id).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, BOUND).await;
    control("resume").await;
    ended.unwrap();
    site.until_quiet().await;
    let reserved = before - available(site, QUIET).await;
    (reserved != 0).then(|| format!("{reserved} are reserved for nobody"))
}

/// The provider fails until the command to authorize was sent again and handled twice.
async fn a_payment_is_requested_twice(site: &Site) -> Option<String> {
    let shopper = site.shop.shoppers(1).await.unwrap().remove(0);
    let outage = json!({"outage": true});
    site.shop.set_faults(&outage).await.unwrap();
    let handled = site.settled(AUTHORIZE, "handled").await;
    let order = Order::of([(QUIET.into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    until("the command was handled twice", async || {
        let more = site.settled(AUTHORIZE, "handled").await - handled;
        check(more >= 2, more)
    })
    .await;
    site.shop.set_faults(&json!({})).await.unwrap();
    shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
    site.until_quiet().await;
    Ledger::read(&site.shop).await.repeated().pop()
}

/// More shoppers want a product than there are, all at the same moment.
async fn a_sale_begins(site: &Site, sales: usize) -> Option<String> {
    let admin = site.admin().await;
    let crowd = site.shop.shoppers(CROWD).await.unwrap();
    let control = async |control| {
        site.control(&admin, "inventory", "reserve_stock", control)
            .await;
    };
    for _ in 0..sales {
        stock_up(site, &admin).await;
        // The broker is to deliver all commands at once.
        control("pause").await;
        let mut orders = JoinSet::new();
        for shopper in crowd.clone() {
            orders.spawn(async move {
                let order = Order::of([(WANTED.into(), 1)]);
                let placed = shopper.place(&order, BOUND).await.unwrap();
                shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
            });
        }
        until("all commands wait", async || {
            let one = site
                .subscription(&admin, "inventory", "reserve_stock")
                .await;
            check(one["waiting"].as_u64() >= Some(CROWD as u64), &one)
        })
        .await;
        control("resume").await;
        orders.join_all().await;
        site.until_quiet().await;
        let found = violations(site).await;
        if !found.is_empty() {
            return Some(found.join("; "));
        }
    }
    None
}

/// Parcels are dispatched and delivered by a timer each.
async fn timers_are_due(fleet: &Fleet) -> Option<String> {
    let site = fleet.site();
    let handled = async || site.settled(["shipping", "shipment"], "handled").await as f64;
    // A command that is sent again because its answer is late is handled once more.
    let sent_again = async || {
        let scrapes = until("all processes are scraped", async || site.scrapes().await).await;
        let labels =
            ["ship", "deliver"].map(|state| [("state", state), ("input", "orders.resend_due.v1")]);
        let of = |labels| sum(&scrapes, "wingbeat_saga_inputs_total", labels);
        labels.iter().map(|labels| of(labels)).sum::<f64>()
    };
    let (before, before_again) = (handled().await, sent_again().await);
    for shopper in site.shop.shoppers(PARCELS).await.unwrap() {
        let order = Order::of([(QUIET.into(), 1)]);
        let placed = shopper.place(&order, BOUND).await.unwrap();
        shopper.wait_ended(&placed.order_id, BOUND).await.unwrap();
    }
    site.until_quiet().await;
    let found = handled().await - before - (sent_again().await - before_again);
    (found > PARCELS_HANDLED).then(|| format!("{found} instead of {PARCELS_HANDLED} were handled"))
}

/// The available stock of a product.
async fn available(site: &Site, sku: &str) -> i64 {
    let products = site.shop.products().await.unwrap();
    let product = products.into_iter().find(|it| it.sku == sku).unwrap();
    product.available
}

/// Sets the stock of the product of the sale.
async fn stock_up(site: &Site, admin: &Shopper) {
    let delta = IN_SALE - available(site, WANTED).await;
    let change = json!({"delta": delta, "reason": "a sale"});
    let path = format!("/api/v1/admin/stock/{WANTED}");
    if delta != 0 {
        let answer = admin.ask(Call::post(&path).json(&change)).await.unwrap();
        assert_eq!(answer.status, 202, "{path} {change}");
    }
    until("the stock is set", async || {
        let available = available(site, WANTED).await;
        check(available == IN_SALE, available)
    })
    .await;
}
