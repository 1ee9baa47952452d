//! Promotions on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::identity::UserRegistered;
use shop_contracts::promotions::{RedeemPromo, ReleasePromo, ReservePromo};
use shop_contracts::{OrderId, UserId};
use shop_promotions::domain::welcome_code;
use shop_promotions::{Config, audit, service};
use wingbeat::test::TestApp;
use wingbeat::{App, Message};

/// The lifetime of a promo, short so that little virtual time has to pass.
const LIFE: Duration = Duration::from_secs(600);

fn id(last: u8) -> OrderId {
    let text = format!("0193f0a0-0000-7000-8000-0000000000{last:02}");
    text.parse().unwrap()
}

fn ada() -> UserId {
    UserId(id(1).0)
}

fn code() -> String {
    welcome_code(ada(), 0).to_string()
}

/// An app in which Ada has signed up.
fn world() -> TestApp {
    let config = Config {
        welcome_for: LIFE,
        ..Config::default()
    };
    let world = TestApp::start(1, App::new().service(service(&config)));
    let registered = UserRegistered {
        user_id: ada(),
        marketing_opt_in: false,
    };
    world.publish(ada().0, &registered);
    world.publish(ada().0, &registered);
    world.pass(Duration::from_secs(1));
    world
}

fn say<M: Message>(world: &TestApp, order: OrderId, message: &M) -> String {
    world.publish(order.0, message);
    world.pass(Duration::from_secs(1));
    let reply = world.published("promotions", order.0).pop();
    let reply = reply.unwrap_or_default();
    let name = reply.strip_prefix("promotions.promo_").unwrap_or(&reply);
    name.trim_end_matches(".v1").to_owned()
}

fn reserve(world: &TestApp, order_id: OrderId, user_id: UserId, code: String) -> String {
    let command = ReservePromo {
        order_id,
        user_id,
        code,
    };
    say(world, order_id, &command)
}

fn release(world: &TestApp, order_id: OrderId) -> String {
    let code = code();
    say(world, order_id, &ReleasePromo { order_id, code })
}

fn redeem(world: &TestApp, order_id: OrderId) -> String {
    let code = code();
    say(world, order_id, &RedeemPromo { order_id, code })
}

fn promos(world: &TestApp) -> Vec<Value> {
    let token = world.sign_in(ada().0, false);
    let (status, answer) = world.ask("GET", "/api/v1/promotions", &token, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer["items"].as_array().cloned().unwrap_or_default()
}

#[test]
fn each_new_user_gets_one_welcome_promo() {
    let world = world();
    assert_eq!(
        world.published("promotions", ada().0),
        ["promotions.promo_issued.v1"]
    );
    let promos = promos(&world);
    assert_eq!(promos.len(), 1);
    assert_eq!(promos[0]["code"], json!(code()));
    assert_eq!(promos[0]["percent"], json!(10));
    assert_eq!(promos[0]["status"], json!("issued"));
    let reads = world.reads("promotions");
    let welcomed = world.run(audit::welcome_promos(&reads, None)).unwrap();
    assert_eq!(welcomed, (vec![ada().to_string()], None));
    let of_ada = world.run(audit::welcome_promos_of(&reads, ada()));
    assert_eq!(of_ada.unwrap(), 1);
}

#[test]
fn promos_require_a_session() {
    let (status, problem) = world().ask("GET", "/api/v1/promotions", "", &Value::Null);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
}

#[test]
fn a_promo_is_redeemed_once_by_its_owner_in_any_case() {
    let world = world();
    let stranger = UserId(id(2).0);
    assert_eq!(reserve(&world, id(10), stranger, code()), "rejected");
    let lower = code().to_lowercase();
    assert_eq!(reserve(&world, id(11), ada(), lower), "reserved");
    assert_eq!(reserve(&world, id(12), ada(), code()), "rejected");
    assert_eq!(redeem(&world, id(11)), "redeemed");
    assert_eq!(reserve(&world, id(13), ada(), code()), "rejected");
    assert_eq!(promos(&world)[0]["status"], json!("redeemed"));
    let reads = world.reads("promotions");
    let (redeemed, twice) = world.run(audit::redeemed_twice(&reads)).unwrap();
    assert_eq!(redeemed, 1);
    assert!(twice.is_empty());
}

#[test]
fn repeated_commands_get_the_recorded_replies() {
    let world = world();
    assert_eq!(reserve(&world, id(11), ada(), code()), "reserved");
    assert_eq!(reserve(&world, id(11), ada(), code()), "reserved");
    assert_eq!(redeem(&world, id(11)), "redeemed");
    assert_eq!(redeem(&world, id(11)), "redeemed");
    assert_eq!(release(&world, id(11)), "redeemed");
}

#[test]
fn a_released_promo_can_be_used_by_the_next_order() {
    let world = world();
    assert_eq!(reserve(&world, id(11), ada(), code()), "reserved");
    assert_eq!(release(&world, id(11)), "released");
    assert_eq!(reserve(&world, id(11), ada(), code()), "rejected");
    assert_eq!(reserve(&world, id(12), ada(), code()), "reserved");
}

#[test]
fn a_reservation_after_its_release_is_rejected() {
    let world = world();
    assert_eq!(release(&world, id(11)), "released");
    assert_eq!(reserve(&world, id(11), ada(), code()), "rejected");
    assert_eq!(promos(&world)[0]["status"], json!("issued"));
}

#[test]
fn a_promo_expires_at_its_time() {
    let thirty_days = Duration::from_secs(30 * 24 * 3600);
    assert_eq!(Config::default().welcome_for, thirty_days);
    let world = world();
    world.pass(LIFE);
    assert_eq!(promos(&world)[0]["status"], json!("expired"));
    assert_eq!(reserve(&world, id(11), ada(), code()), "rejected");
}
