//! Shipping on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::time::Duration;

use shop_contracts::OrderId;
use shop_contracts::shipping::{CancelShipment, CreateShipment};
use shop_shipping::shipment::Shipment;
use shop_shipping::{Config, audit, service};
use wingbeat::App;
use wingbeat::test::{Faults, TestApp, ends_in_any_order};

fn world() -> TestApp {
    TestApp::start(1, App::new().service(service(&Config::default())))
}

fn order() -> OrderId {
    "0193f0a0-0000-7000-8000-000000000001".parse().unwrap()
}

/// Returns the events of the shipment, oldest first.
fn published(world: &TestApp) -> Vec<String> {
    let events = world.published("shipping", order().0).into_iter();
    events
        .map(|name| {
            let name = name.strip_prefix("shipping.shipment_").unwrap_or(&name);
            name.trim_end_matches(".v1").to_owned()
        })
        .collect()
}

#[test]
fn a_shipment_is_dispatched_and_delivered_after_the_configured_times() {
    let world = world();
    let order_id = order();
    world.publish(order_id.0, &CreateShipment { order_id });
    world.pass(Duration::from_millis(1_900));
    assert_eq!(published(&world), ["created"]);
    world.pass(Duration::from_millis(700));
    assert_eq!(published(&world), ["created", "dispatched"]);
    let open = world.run(audit::open(&world.reads("shipping"))).unwrap();
    assert_eq!(open[0].timers, ["shipping.deliver_due.v1"]);
    world.pass(Duration::from_millis(2_500));
    assert_eq!(published(&world), ["created", "dispatched", "delivered"]);
    let open = world.run(audit::open(&world.reads("shipping"))).unwrap();
    assert_eq!(open, []);
}

#[test]
fn a_shipment_cancelled_before_the_dispatch_is_never_dispatched() {
    let world = world();
    let order_id = order();
    world.publish(order_id.0, &CreateShipment { order_id });
    world.pass(Duration::from_secs(1));
    world.publish(order_id.0, &CancelShipment { order_id });
    world.pass(Duration::from_secs(60));
    assert_eq!(published(&world), ["created", "cancelled"]);
}

#[test]
fn a_dispatched_shipment_cannot_be_cancelled() {
    let world = world();
    let order_id = order();
    world.publish(order_id.0, &CreateShipment { order_id });
    world.pass(Duration::from_secs(3));
    world.publish(order_id.0, &CancelShipment { order_id });
    world.pass(Duration::from_secs(60));
    let all = ["created", "dispatched", "cancel_refused", "delivered"];
    assert_eq!(published(&world), all);
}

#[test]
fn a_creation_after_the_cancel_is_refused() {
    let world = world();
    let order_id = order();
    world.publish(order_id.0, &CancelShipment { order_id });
    world.pass(Duration::from_secs(1));
    world.publish(order_id.0, &CreateShipment { order_id });
    world.pass(Duration::from_secs(60));
    assert_eq!(published(&world), ["cancelled", "cancelled"]);
}

#[test]
fn a_resent_command_gets_a_reply_and_ships_nothing_twice() {
    let world = world();
    let order_id = order();
    world.publish(order_id.0, &CreateShipment { order_id });
    world.publish(order_id.0, &CreateShipment { order_id });
    world.pass(Duration::from_secs(60));
    let all = ["created", "created", "dispatched", "delivered"];
    assert_eq!(published(&world), all);
}

#[test]
fn under_faults_each_shipment_is_delivered_once() {
    for seed in 0..20 {
        let world = TestApp::start(seed, App::new().service(service(&Config::default())));
        world.set_faults(Faults {
            commit_unknown: 100,
            store_unavailable: 50,
            confirm_lost: 100,
            duplicate: 200,
            delay: Duration::from_millis(20),
            ..Faults::default()
        });
        let order_id = order();
        world.publish(order_id.0, &CreateShipment { order_id });
        world.pass(Duration::from_secs(600));
        world.set_faults(Faults::default());
        let published = published(&world);
        assert_eq!(
            published,
            ["created", "dispatched", "delivered"],
            "seed {seed}"
        );
    }
}

#[test]
fn a_shipment_ends_after_any_sequence_of_inputs() {
    let body = br#"{
        "order_id": "019b76da-f652-7000-a018-03d64bb2a7ab",
        "dispatch_after": { "secs": 2, "nanos": 0 }, "deliver_after": { "secs": 2, "nanos": 0 }
    }"#;
    ends_in_any_order::<Shipment>(0..2_000, body, |_| &[]);
}
