//! An app with stock, and shorthands for the commands of the checkout.

use std::time::Duration;

use shop_contracts::inventory::{
    AdjustStock, CommitStock, ReleaseStock, ReserveStock, RestockOrder,
};
use shop_contracts::{OrderId, Sku};
use shop_inventory::audit::{self, Figures};
use shop_inventory::{Config, service};
use wingbeat::test::TestApp;
use wingbeat::{App, Message};

pub(crate) fn order(number: u32) -> OrderId {
    let text = format!("0193f0a0-0000-7000-8000-{number:012}");
    text.parse().unwrap()
}

pub(crate) fn sku(text: &str) -> Sku {
    text.parse().unwrap()
}

/// An app with ten units of `TEA` and one of `CUP`.
pub(crate) fn stocked(seed: u64) -> TestApp {
    let world = TestApp::start(seed, App::new().service(service(&Config::default())));
    stock(&world, 1, "TEA", 10);
    stock(&world, 2, "CUP", 1);
    world
}

pub(crate) fn stock(world: &TestApp, adjustment: u32, of: &str, delta: i64) {
    let command = AdjustStock {
        sku: sku(of),
        delta,
        reason: "delivered".into(),
        adjustment_id: order(adjustment).0,
    };
    world.publish(command.adjustment_id, &command);
    world.pass(Duration::from_secs(1));
}

pub(crate) fn lines(quantities: &[(&str, u32)]) -> Vec<(Sku, u32)> {
    let lines = quantities.iter();
    lines.map(|(of, quantity)| (sku(of), *quantity)).collect()
}

/// Returns inventory's replies to an order, oldest first.
pub(crate) fn replies(world: &TestApp, order: OrderId) -> Vec<String> {
    let events = world.published("inventory", order.0).into_iter();
    events
        .filter_map(|name| {
            let name = name.strip_prefix("inventory.stock_")?;
            Some(name.trim_end_matches(".v1").to_owned())
        })
        .filter(|name| name != "level_changed")
        .collect()
}

fn say<M: Message>(world: &TestApp, order: OrderId, message: &M) -> String {
    world.publish(order.0, message);
    world.pass(Duration::from_secs(1));
    replies(world, order).pop().unwrap_or_default()
}

pub(crate) fn reserve(world: &TestApp, order_id: OrderId, of: &[(&str, u32)]) -> String {
    let lines = lines(of);
    say(world, order_id, &ReserveStock { order_id, lines })
}

pub(crate) fn release(world: &TestApp, order_id: OrderId) -> String {
    say(world, order_id, &ReleaseStock { order_id })
}

pub(crate) fn commit(world: &TestApp, order_id: OrderId) -> String {
    say(world, order_id, &CommitStock { order_id })
}

pub(crate) fn restock(world: &TestApp, order_id: OrderId) -> String {
    say(world, order_id, &RestockOrder { order_id })
}

/// Returns a product's units on hand and reserved, and checks the invariant of all products.
pub(crate) fn figures(world: &TestApp, of: &str) -> (i64, i64) {
    let all = world.run(audit::stock(&world.reads("inventory"))).unwrap();
    for (sku, figures) in &all {
        assert_eq!(figures.violation(), None, "{sku}: {figures:?}");
    }
    let figures = all.get(&sku(of)).cloned().unwrap_or_default();
    let Figures {
        on_hand, reserved, ..
    } = figures;
    (on_hand, reserved)
}
