//! The checkout from the HTTP request to its end, with and without faults, on the model.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::test::{Faults, Simulation};

use crate::world::{World, id};

fn body(token: &str) -> Value {
    json!({
        "items": [{ "sku": "TEA-1", "quantity": 2 }, { "sku": "CUP-1", "quantity": 1 }],
        "payment_token": token,
        "address": { "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" },
    })
}

fn in_world(seed: u64, story: impl AsyncFnOnce(World)) -> u64 {
    let simulation = Simulation::new(seed);
    let world = simulation.clone();
    simulation.run(async move { story(World::open(world).await).await });
    simulation.digest()
}

#[test]
fn an_order_is_paid_within_two_seconds_and_completes_after_its_delivery() {
    in_world(1, async |world| {
        let token = world.sign_in().await;
        let placed = world.order(&token, "k", &body("tok_ok")).await;
        assert_eq!(placed["total"]["amount_minor"], 1_350);
        world.pass(Duration::from_millis(1_900)).await;
        assert_eq!(world.show(&token, &id(&placed)).await["status"], "paid");
        world.pass(Duration::from_secs(6)).await;
        assert_eq!(
            world.show(&token, &id(&placed)).await["status"],
            "completed"
        );
        assert_eq!(world.bank.effects(&id(&placed)), ["authorize", "capture"]);
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

#[test]
fn the_admin_reads_an_order_as_of_a_time_and_its_owner_does_not() {
    in_world(1, async |world| {
        let token = world.sign_in().await;
        let admin = world.sign_in_admin().await;
        let placed = world.order(&token, "k", &body("tok_slow")).await;
        world.pass(Duration::from_secs(10)).await;
        let now = world.show(&token, &id(&placed)).await;
        assert_eq!(now["status"], "completed");
        let placed_at = now["placed_at"].as_str().expect("a time");
        let as_of = async |token: &str, at: &str| {
            let path = format!("/orders/{}?as_of={at}", id(&placed));
            world.ask("GET", &path, token, "", &Value::Null).await
        };
        let (status, then) = as_of(&admin, placed_at).await;
        // The bank answers two seconds later.
        assert_eq!(
            (status, &then["status"]),
            (200, &json!("stock_reserved")),
            "{then}"
        );
        assert_eq!(then["total"], now["total"]);
        let (status, then) = as_of(&admin, "9000-01-01T00:00:00Z").await;
        assert_eq!((status, &then["status"]), (200, &json!("completed")));
        assert_eq!(as_of(&admin, "2000-01-01T00:00:00Z").await.0, 404);
        assert_eq!(as_of(&admin, "yesterday").await.0, 422);
        assert_eq!(as_of(&token, placed_at).await.0, 403);
    });
}

#[test]
fn a_declined_card_rejects_the_order_and_releases_the_stock() {
    in_world(2, async |world| {
        let token = world.sign_in().await;
        let placed = world.order(&token, "k", &body("tok_declined")).await;
        world.pass(Duration::from_secs(20)).await;
        let shown = world.show(&token, &id(&placed)).await;
        assert_eq!(
            (&shown["status"], &shown["reason"]),
            (&json!("rejected"), &json!("payment_declined"))
        );
        assert!(world.bank.effects(&id(&placed)).is_empty());
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

#[test]
fn an_order_of_more_than_the_stock_is_rejected() {
    in_world(3, async |world| {
        let token = world.sign_in().await;
        let mut last = Value::Null;
        for key in 0..11 {
            let mut body = body("tok_ok");
            body["items"] = json!([{ "sku": "TEA-1", "quantity": 99 }]);
            last = world.order(&token, &key.to_string(), &body).await;
            world.pass(Duration::from_millis(1)).await; // Ids are ordered by millisecond.
        }
        world.pass(Duration::from_secs(60)).await;
        let (_, list) = world
            .ask("GET", "/orders?limit=100", &token, "", &Value::Null)
            .await;
        let items = list["items"].as_array().expect("items");
        let rejected = items
            .iter()
            .filter(|order| order["reason"] == "out_of_stock")
            .count();
        assert_eq!((items.len(), rejected), (11, 1));
        assert_eq!(items[0]["order_id"], last["order_id"], "newest first");
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

#[test]
fn a_repeated_key_returns_the_first_answer_and_places_one_order() {
    in_world(4, async |world| {
        let token = world.sign_in().await;
        let first = world.order(&token, "k", &body("tok_ok")).await;
        assert_eq!(world.order(&token, "k", &body("tok_ok")).await, first);
        let (status, problem) = world
            .ask("POST", "/orders", &token, "k", &body("tok_slow"))
            .await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("idempotency_key_reused"))
        );
        let other = world.sign_in().await;
        assert_ne!(
            world.order(&other, "k", &body("tok_ok")).await,
            first,
            "keys are per user"
        );
    });
}

#[test]
fn invalid_requests_are_answered_with_problems() {
    in_world(5, async |world| {
        let token = world.sign_in().await;
        let without_key = world
            .ask("POST", "/orders", &token, "", &body("tok_ok"))
            .await;
        assert_eq!(
            (without_key.0, &without_key.1["code"]),
            (400, &json!("idempotency_key_missing"))
        );
        let nobody = world.ask("POST", "/orders", "", "k", &body("tok_ok")).await;
        assert_eq!(
            (nobody.0, &nobody.1["code"]),
            (401, &json!("unauthenticated"))
        );
        let mut unknown = body("tok_ok");
        unknown["items"][1]["sku"] = json!("NO-SUCH");
        let answer = world.ask("POST", "/orders", &token, "k", &unknown).await;
        assert_eq!(
            (answer.0, &answer.1["errors"][0]["pointer"]),
            (422, &json!("/items/1/sku"))
        );
        let mut extra = body("tok_ok");
        extra["gift"] = json!(true);
        assert_eq!(
            world.ask("POST", "/orders", &token, "k", &extra).await.0,
            422
        );
        let mut price = body("tok_ok");
        price["expected_total"] = json!({ "amount_minor": 1, "currency": "EUR" });
        let changed = world.ask("POST", "/orders", &token, "k", &price).await;
        assert_eq!(
            (changed.0, &changed.1["code"]),
            (409, &json!("price_changed"))
        );
        let mut cart = body("tok_ok");
        cart.as_object_mut().expect("an object").remove("items");
        let empty = world.ask("POST", "/orders", &token, "k", &cart).await;
        assert_eq!((empty.0, &empty.1["code"]), (422, &json!("cart_empty")));
        assert_eq!(
            world
                .ask("GET", "/orders/nonsense", &token, "", &Value::Null)
                .await
                .0,
            404
        );
        assert_eq!(
            world
                .ask("GET", "/orders?limit=0", &token, "", &Value::Null)
                .await
                .0,
            422
        );
        assert_eq!(
            world
                .ask("GET", "/orders?cursor=x", &token, "", &Value::Null)
                .await
                .0,
            400
        );
    });
}

#[test]
fn the_order_of_another_user_is_not_found() {
    in_world(6, async |world| {
        let (ada, eve) = (world.sign_in().await, world.sign_in().await);
        let placed = world.order(&ada, "k", &body("tok_ok")).await;
        let path = format!("/orders/{}", id(&placed));
        assert_eq!(world.ask("GET", &path, &eve, "", &Value::Null).await.0, 404);
        assert_eq!(
            world
                .ask("POST", &format!("{path}/cancel"), &eve, "", &Value::Null)
                .await
                .0,
            404
        );
    });
}

#[test]
fn a_cancel_before_dispatch_refunds_and_restocks() {
    in_world(7, async |world| {
        let token = world.sign_in().await;
        let placed = world.order(&token, "k", &body("tok_ok")).await;
        let path = format!("/orders/{}/cancel", id(&placed));
        world.pass(Duration::from_millis(1_500)).await;
        assert_eq!(
            world.ask("POST", &path, &token, "", &Value::Null).await.0,
            202
        );
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(
            world.show(&token, &id(&placed)).await["status"],
            "cancelled"
        );
        assert_eq!(
            world.bank.effects(&id(&placed)),
            ["authorize", "capture", "refund"]
        );
        assert_eq!(
            world.ask("POST", &path, &token, "", &Value::Null).await.0,
            202,
            "repeatable"
        );
        assert_eq!(world.figures().await, Vec::<String>::new());
    });
}

#[test]
fn a_cancel_after_dispatch_is_refused() {
    in_world(8, async |world| {
        let token = world.sign_in().await;
        let placed = world.order(&token, "k", &body("tok_ok")).await;
        world.pass(Duration::from_secs(30)).await;
        let (status, problem) = world
            .ask(
                "POST",
                &format!("/orders/{}/cancel", id(&placed)),
                &token,
                "",
                &Value::Null,
            )
            .await;
        assert_eq!((status, &problem["code"]), (409, &json!("not_cancellable")));
    });
}

#[test]
fn orders_are_accepted_during_an_outage_of_the_bank_and_paid_afterwards() {
    in_world(9, async |world| {
        let token = world.sign_in().await;
        world.model.set_faults(Faults {
            outside_fails: 1_000,
            ..Faults::default()
        });
        let mut orders = Vec::new();
        for key in 0..30 {
            orders.push(world.order(&token, &key.to_string(), &body("tok_ok")).await);
        }
        world.pass(Duration::from_secs(5)).await;
        let state = world.running.targets[0].state().0;
        assert_ne!(state, wingbeat::call::breaker::State::Closed, "within 5 s");
        world.pass(Duration::from_secs(55)).await;
        for order in &orders {
            let shown = world.show(&token, &id(order)).await;
            assert_eq!(
                (&shown["status"], &shown["payment_delayed"]),
                (&json!("stock_reserved"), &json!(true))
            );
        }
        assert_eq!(
            world.running.targets[0].state().0,
            wingbeat::call::breaker::State::Open
        );
        let before = world.model.fault_counts()["outside_fails"];
        assert!(
            before < 150,
            "an open breaker stops the storm: {before} calls"
        );
        world.model.set_faults(Faults::default());
        world.pass(Duration::from_secs(15)).await;
        for order in &orders {
            let shown = world.show(&token, &id(order)).await;
            assert!(
                ["paid", "shipped", "completed"]
                    .contains(&shown["status"].as_str().expect("a status")),
                "{shown}"
            );
            assert_eq!(world.bank.effects(&id(order)), ["authorize", "capture"]);
        }
        assert_eq!(
            world.running.targets[0].state().0,
            wingbeat::call::breaker::State::Closed
        );
    });
}
