//! Recorded stories of orders: they replay without a difference on the code that recorded them, and
//! a planted bug is the only difference to the code without it.
//!
//! `WINGBEAT_SEEDS=28 cargo test -p shop-simulation --test it -- replayed` replays a thousand.

use std::time::Duration;

use serde_json::{Value, json};
use shop_contracts::shipping::CreateShipment;
use shop_shipping::shipment::{BeginShipment, Shipment};
use shop_shipping::{Config, State};
use wingbeat::http::session::Sessions;
use wingbeat::recording::Input;
use wingbeat::story::Story;
use wingbeat::test::replay::Replayer;
use wingbeat::test::{Model, Simulation};
use wingbeat::{App, Recording, Result, Service, Uuid};

use crate::world::{World, app, id, without_shipping};

/// The orders of one world.
const ORDERS: u32 = 36;

fn sessions() -> Sessions {
    let simulation = Simulation::new(1);
    Sessions::new(Model::new(simulation.runtime()).cache, simulation.runtime())
}

fn body(token: &str, quantity: u32) -> Value {
    json!({
        "items": [{ "sku": "TEA-1", "quantity": quantity }, { "sku": "CUP-1", "quantity": 1 }],
        "payment_token": token,
        "address": { "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH" },
    })
}

/// Places orders that are paid, declined, paid late, cancelled, and more than the stock. Returns
/// the recorded stories, and the states of the orders.
async fn order(world: &World) -> (Vec<Story>, Vec<String>) {
    let token = world.sign_in().await;
    let mut placed = Vec::new();
    for number in 0..ORDERS {
        let card = match number % 6 {
            1 => "tok_declined",
            2 => "tok_slow",
            _ => "tok_ok",
        };
        // Twelve orders of 99 units are more than the stock.
        let quantity = if number % 3 == 0 { 99 } else { 2 };
        let answer = world
            .order(&token, &number.to_string(), &body(card, quantity))
            .await;
        let order = id(&answer);
        if number % 6 == 5 {
            world.pass(Duration::from_millis(1_500)).await;
            let path = format!("/orders/{order}/cancel");
            let (status, answer) = world.ask("POST", &path, &token, "", &Value::Null).await;
            assert_eq!(status, 202, "{answer}");
        }
        placed.push(order);
        world.pass(Duration::from_millis(50)).await;
    }
    world.pass(Duration::from_secs(120)).await;
    let (mut stories, mut states) = (Vec::new(), Vec::new());
    for order in placed {
        let shown = world.show(&token, &order).await;
        states.push(shown["status"].as_str().unwrap_or_default().to_owned());
        let story: Uuid = order.parse().expect("an id");
        let recorded = world.running.recorded(story.into()).await;
        stories.push(recorded.expect("the store reads"));
    }
    (stories, states)
}

#[wingbeat::test(seeds = 2)]
async fn stories_of_orders_replay_without_a_difference(simulation: Simulation) {
    let world = World::of(simulation, |it| app(it).recording(Recording::all())).await;
    let (stories, states) = order(&world).await;
    for state in ["completed", "rejected", "cancelled"] {
        let number = states.iter().filter(|it| *it == state).count();
        assert!(number > 1, "{number} orders are {state}");
    }
    let replayer = Replayer::new(app(&sessions()));
    let mut units = 0;
    for story in &stories {
        let report = replayer.replay(story);
        report.assert_same();
        units += report.replayed;
        for skipped in &report.skipped {
            assert_eq!(skipped.why, "HTTP requests are not recorded", "{skipped:?}");
        }
    }
    assert!(units > 10 * ORDERS as usize, "{units} units");
    println!("{} stories, {units} units, no difference", stories.len());
}

#[wingbeat::test(seeds = 1)]
async fn an_exported_order_does_not_contain_its_address(simulation: Simulation) {
    let world = World::of(simulation, |it| app(it).recording(Recording::all())).await;
    let (stories, _) = order(&world).await;
    for story in stories {
        let text = String::from_utf8(story.encode()).expect("JSON");
        for personal in ["1 Way", "Bern"] {
            assert!(!text.contains(personal), "{personal} in {text}");
        }
    }
}

/// The planted bug: both durations are that of the delivery.
async fn create_shipment(
    command: CreateShipment,
    wingbeat::State(config): wingbeat::State<Config>,
) -> Result<BeginShipment> {
    Ok(BeginShipment {
        order_id: command.order_id,
        dispatch_after: config.deliver_after,
        deliver_after: config.deliver_after,
    })
}

fn settings() -> Config {
    Config {
        dispatch_after: Duration::from_secs(2),
        deliver_after: Duration::from_secs(5),
    }
}

fn with_bug(sessions: &Sessions) -> App {
    let config = settings();
    let shipping = Service::new("shipping").with_state(State { config });
    let shipping = shipping.on(create_shipment).saga::<Shipment>();
    without_shipping(sessions).service(shipping)
}

fn mended(sessions: &Sessions) -> App {
    without_shipping(sessions).service(shop_shipping::service(&settings()))
}

#[wingbeat::test(seeds = 1)]
async fn the_difference_to_the_mended_code_is_the_planted_bug(simulation: Simulation) {
    let world = World::of(simulation, |it| with_bug(it).recording(Recording::all())).await;
    let (stories, _) = order(&world).await;
    let mended = Replayer::new(mended(&sessions()));
    let same = Replayer::new(with_bug(&sessions()));
    let mut shown = 0;
    for story in &stories {
        same.replay(story).assert_same();
        let report = mended.replay(story);
        let is_created = |input: &Input| match input {
            Input::Messages { queue, .. } => queue == "shipping.create_shipment",
            _ => false,
        };
        let shipped = story.units.iter().any(|it| is_created(&it.input));
        assert_eq!(report.differences.len(), usize::from(shipped), "{report}");
        for difference in &report.differences {
            let text = "shipping.create_shipment handles shipping.create_shipment.v1";
            assert!(difference.input.starts_with(text), "{report}");
            let what = "message shipping.begin_shipment.v1 .body .dispatch_after .secs";
            assert_eq!(difference.what, what, "{report}");
            assert_eq!(difference.recorded, Some(5.into()));
            assert_eq!(difference.now, Some(2.into()));
            shown += 1;
        }
    }
    assert!(shown > 5, "{shown} orders were shipped");
}
