//! What the shop on real servers does to its users without one of its mechanisms, in scenes that need no death of a
//! process; and that the whole shop passes all of these scenes.

use std::time::{Duration, Instant};

use serde_json::json;
use shop_client::http::Call;
use shop_client::{Order, Shop, Shopper};
use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::ledger::Ledger;
use shop_e2e::scrape::Scrape;
use tokio::task::JoinSet;

use crate::failpoints::without;
use crate::parked::{self, LOST_AFTER, SOON};

/// The pause between looks.
const LOOK: Duration = Duration::from_millis(50);
/// What everybody wants, and how many there are of it in a sale.
const WANTED: &str = "WB-OWL-10";
const IN_SALE: i64 = 5;
/// Shoppers in a sale, who each want one.
const CROWD: usize = 40;
/// Sales until the shop has sold more than it has, if it ever does.
const SALES: usize = 8;
/// What nobody else wants.
const QUIET: &str = "WB-BELL-01";
/// Longer than a command waits for its answer until it is sent again (3 s, and its jitter).
const RESENT_WITHIN: Duration = Duration::from_secs(8);
/// How long the bank may stay alone once it is back.
const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(15);
/// Parcels that are followed, and what their service is told of them: a command and two timers each.
const PARCELS: usize = 10;
const PARCELS_TOLD: f64 = 30.0;
/// Longer than the catalogue takes to hear of stock and to tell it.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
/// How long a promise may look broken while all is at work.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_shop_passes_every_scene() {
    let (fleet, _folder) = without(None).await;
    let told = [
        a_cancel_overtakes_the_order(&fleet).await,
        a_bank_is_asked_twice(&fleet).await,
        a_sale_begins(&fleet).await,
        timers_are_due(&fleet).await,
        parked::broken(&fleet.shop(), PASSWORD, SOON).await,
    ];
    assert_eq!(told, [const { None }; 5]);
}

/// A scene in a shop without the mechanism, and a word of what it must tell.
async fn is_caught(mechanism: &str, scene: impl AsyncFnOnce(&Fleet) -> Option<String>, word: &str) {
    let (fleet, _folder) = without(Some(mechanism)).await;
    let told = scene(&fleet).await;
    let told = told.unwrap_or_else(|| panic!("without {mechanism}: nothing is noticed"));
    assert!(told.contains(word), "without {mechanism}: {told}");
    println!("without {mechanism}: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_a_compensation_that_came_first_is_caught_on_real_servers() {
    is_caught("tombstone", a_cancel_overtakes_the_order, "are kept").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doing_a_command_again_that_is_sent_again_is_caught_on_real_servers() {
    is_caught("operation-id", a_bank_is_asked_twice, "was booked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_stock_that_was_looked_at_before_is_caught_on_real_servers() {
    is_caught("stock-check", a_sale_begins, "on hand").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_a_parked_delivery_is_caught_on_real_servers() {
    let scene = async |fleet: &Fleet| parked::broken(&fleet.shop(), PASSWORD, LOST_AFTER).await;
    is_caught("parking", scene, "notifications.user_registered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_come_twice_are_caught_on_real_servers() {
    is_caught("timer-once", timers_are_due, "of 30 were handled").await;
}

/// The commands of one order are handed out in another order than they were sent: what is called off first is not
/// reserved any more.
async fn a_cancel_overtakes_the_order(fleet: &Fleet) -> Option<String> {
    let shop = &fleet.shop();
    let admin = shop.admin(PASSWORD).await.unwrap();
    let before = stocked(shop, QUIET).await;
    set(&admin, "reserve_stock", "pause").await;
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    let order = Order::of([(QUIET.into(), 2)]);
    let placed = shopper.place(&order, SOON).await.unwrap();
    shopper.cancel(&placed.order_id).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, SOON).await;
    set(&admin, "reserve_stock", "resume").await;
    if let Err(why) = ended {
        return Some(why.to_string());
    }
    // A later order of the same product comes after what has waited.
    let next = shopper.place(&order, SOON).await.unwrap();
    shopper.wait_ended(&next.order_id, SOON).await.unwrap();
    let kept = async || {
        let after = available(shop, QUIET).await;
        (after != before - 2).then(|| format!("{} are kept for nobody", before - 2 - after))
    };
    if let Some(told) = settles(kept).await {
        return Some(told);
    }
    // The catalogue may not have heard of all of it: it has to say so twice.
    tokio::time::sleep(HEARD_WITHIN).await;
    settles(kept).await
}

/// The bank is away for longer than a command waits for its answer.
async fn a_bank_is_asked_twice(fleet: &Fleet) -> Option<String> {
    let shop = &fleet.shop();
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    shop.set_faults(&json!({"outage": true})).await.unwrap();
    let order = Order::of([(QUIET.into(), 1)]);
    let placed = shopper.place(&order, SOON).await.unwrap();
    tokio::time::sleep(RESENT_WITHIN).await;
    shop.set_faults(&json!({})).await.unwrap();
    if let Err(why) = shopper.wait_ended(&placed.order_id, SOON).await {
        return Some(why.to_string());
    }
    // Whoever is asked again is asked after a pause.
    let until = Instant::now() + ASKED_AGAIN_WITHIN;
    loop {
        let told = Ledger::read(shop).await.twice().pop();
        if told.is_some() || Instant::now() > until {
            return told;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// More want a product than there are of it, all at the same moment.
async fn a_sale_begins(fleet: &Fleet) -> Option<String> {
    let shop = &fleet.shop();
    let admin = shop.admin(PASSWORD).await.unwrap();
    let crowd = shop.shoppers(CROWD).await.unwrap();
    stocked(shop, WANTED).await;
    for _ in 0..SALES {
        stock_up(shop, &admin).await;
        // All of them are to be handed out at once.
        set(&admin, "reserve_stock", "pause").await;
        let mut tasks = JoinSet::new();
        for shopper in crowd.clone() {
            tasks.spawn(async move {
                let order = Order::of([(WANTED.into(), 1)]);
                let placed = shopper.place(&order, SOON).await.unwrap();
                shopper.wait_ended(&placed.order_id, SOON).await.unwrap();
            });
        }
        let until = Instant::now() + SOON;
        while waiting(&admin, "reserve_stock").await < CROWD as u64 {
            assert!(Instant::now() < until, "never so many at once");
            tokio::time::sleep(LOOK).await;
        }
        set(&admin, "reserve_stock", "resume").await;
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        if let Some(told) = settles(async || audit(&admin).await).await {
            return Some(told);
        }
    }
    None
}

/// Parcels are sent off and delivered by a timer each.
async fn timers_are_due(fleet: &Fleet) -> Option<String> {
    let told = async || {
        let shipping = fleet.members.iter().find(|it| it.service == "shipping");
        let scrape = Scrape::of(shipping.unwrap().ops_port).await;
        let labels = [("subscription", "shipment"), ("outcome", "handled")];
        scrape.sum("wingbeat_messaging_settled_total", &labels)
    };
    // A command whose answer is slow to come is sent again, and counts once more.
    let sent_again = async || {
        let mut sum = 0.0;
        for orders in fleet.members.iter().filter(|it| it.service == "orders") {
            let scrape = Scrape::of(orders.ops_port).await;
            for state in ["ship", "deliver"] {
                let labels = [("state", state), ("input", "orders.resend_due.v1")];
                sum += scrape.sum("wingbeat_saga_inputs_total", &labels);
            }
        }
        sum
    };
    let (before, before_again) = (told().await, sent_again().await);
    for shopper in fleet.shop().shoppers(PARCELS).await.unwrap() {
        let order = Order::of([(QUIET.into(), 1)]);
        let placed = shopper.place(&order, SOON).await.unwrap();
        if let Err(why) = shopper.wait_ended(&placed.order_id, SOON).await {
            return Some(why.to_string());
        }
    }
    let handled = told().await - before - (sent_again().await - before_again);
    (handled > PARCELS_TOLD).then(|| format!("{handled} of {PARCELS_TOLD} were handled"))
}

/// What is wrong, if it stays so.
async fn settles(mut look: impl AsyncFnMut() -> Option<String>) -> Option<String> {
    let until = Instant::now() + SETTLED_WITHIN;
    loop {
        let told = look().await;
        if told.is_none() || Instant::now() > until {
            return told;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn audit(admin: &Shopper) -> Option<String> {
    let (report, text) = admin.audit().await.unwrap();
    (!report.ok).then_some(text)
}

async fn available(shop: &Shop, sku: &str) -> i64 {
    let products = shop.products().await.unwrap();
    let product = products.into_iter().find(|it| it.sku == sku).unwrap();
    product.available
}

/// How many there are, once the catalogue has heard of any.
async fn stocked(shop: &Shop, sku: &str) -> i64 {
    let until = Instant::now() + SOON;
    loop {
        let there = available(shop, sku).await;
        if there > 0 {
            return there;
        }
        assert!(Instant::now() < until, "never any {sku} in stock");
        tokio::time::sleep(LOOK).await;
    }
}

/// Has so many in stock as a sale has.
async fn stock_up(shop: &Shop, admin: &Shopper) {
    let delta = IN_SALE - available(shop, WANTED).await;
    let change = json!({"delta": delta, "reason": "a sale"});
    let path = format!("/api/v1/admin/stock/{WANTED}");
    if delta != 0 {
        let answer = admin.ask(Call::post(&path).json(&change)).await.unwrap();
        assert_eq!(answer.status, 202, "{path} {change}");
    }
    let until = Instant::now() + SOON;
    while available(shop, WANTED).await != IN_SALE {
        assert!(Instant::now() < until, "never {IN_SALE} in stock");
        tokio::time::sleep(LOOK).await;
    }
}

async fn waiting(admin: &Shopper, subscription: &str) -> u64 {
    let one = parked::told(admin, "inventory", subscription).await;
    one["waiting"].as_u64().unwrap()
}

/// Pauses or resumes a subscription of inventory.
async fn set(admin: &Shopper, subscription: &str, to: &str) {
    let path = format!("/api/v1/admin/subscriptions/inventory/{subscription}/{to}");
    let answer = admin.ask(Call::post(&path)).await.unwrap();
    assert_eq!(answer.status, 202, "{subscription} {to}");
    let one = parked::told(admin, "inventory", subscription).await;
    let expected = if to == "pause" { "paused" } else { "running" };
    assert_eq!(one["state"], expected, "of all replicas");
}
