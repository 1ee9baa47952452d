//! Samples on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::{OrderId, UserId};
use shop_samples::contracts::RateOrder;
use shop_samples::{Config, service};
use wingbeat::App;
use wingbeat::test::TestApp;

fn world() -> TestApp {
    TestApp::start(1, App::new().service(service(&Config::default())))
}

fn order() -> OrderId {
    "0193f0a0-0000-7000-8000-000000000001".parse().unwrap()
}

fn user() -> UserId {
    "0193f0a0-0000-7000-8000-000000000002".parse().unwrap()
}

fn rate(world: &TestApp, stars: u8) {
    let order_id = order();
    let command = RateOrder {
        order_id,
        user_id: user(),
        stars,
    };
    world.publish(order_id.0, &command);
    world.pass(Duration::from_secs(1));
}

/// The ratings of the user, over HTTP.
fn ratings(world: &TestApp) -> Value {
    let token = world.sign_in(user().0, false);
    let (status, body) = world.ask("GET", "/api/v1/samples", &token, &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["items"].clone()
}

#[test]
fn a_rating_is_published_and_listed_for_its_user() {
    let world = world();
    rate(&world, 4);
    assert_eq!(
        world.published("samples", order().0),
        ["samples.order_rated.v1"]
    );
    let listed = json!([{"order_id": order().to_string(), "stars": 4}]);
    assert_eq!(ratings(&world), listed);
}

#[test]
fn a_repeated_rating_is_published_once() {
    let world = world();
    rate(&world, 4);
    rate(&world, 4);
    assert_eq!(world.published("samples", order().0).len(), 1);
}

#[test]
fn a_rating_out_of_range_is_rejected() {
    let world = world();
    rate(&world, 6);
    assert_eq!(world.published("samples", order().0), Vec::<String>::new());
    assert_eq!(ratings(&world), json!([]));
}

#[test]
fn ratings_require_a_session() {
    let (status, problem) = world().ask("GET", "/api/v1/samples", "", &Value::Null);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
}
