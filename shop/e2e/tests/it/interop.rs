//! Clients in other languages take part in the shop, with nothing but an AMQP library and what the documents say.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Order, Shop};
use shop_e2e::strangers::{Program, SOON, World};
use uuid::Uuid;

const COMMANDS: &str = "wingbeat.commands";
const EVENTS: &str = "wingbeat.events";
const RESERVE: &str = "inventory.reserve_stock.v1";
const RESERVED: &str = "inventory.stock_reserved.v1";
const COMMIT: &str = "inventory.commit_stock.v1";
const COMMITTED: &str = "inventory.stock_committed.v1";
const PAID: &str = "orders.order_paid.v1";
const LETTERS: &str = "/api/v1/admin/dead-letters";
/// The queue that most of this goes to.
const QUEUE: &str = "inventory.reserve_stock";
/// Of a message that is too large, so much is kept.
const KEPT: usize = 64 << 10;
/// How many bells the order takes.
const BOUGHT: i64 = 2;
/// The name space of ids that are no UUIDs, as docs/interoperability.md has it.
const FOREIGN: Uuid = Uuid::from_u128(0x5f1b_64e7_7d0a_4f2e_9b1c_0c8e_53a1_77d4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_other_languages_take_part() {
    let world = World::start().await;
    let stocked = available(&world.shop()).await;
    subscribers_get_plain_cloud_events(&world).await;
    what_is_published_is_done_once(&world, stocked - BOUGHT).await;
    strangers_who_wait_break_nothing(&world).await;
    bad_input_is_set_aside(&world).await;
    unroutable_messages_are_told(&world).await;
    world.holds().await;
    world.close();
}

/// An order is paid, and Node and Python both get the event as it is documented.
async fn subscribers_get_plain_cloud_events(world: &World) {
    let mut subscribers = [
        world
            .subscriber("subscribe.mjs", "crm.order_paid", &[PAID])
            .await,
        world
            .subscriber("subscribe.py", "books.order_paid", &[PAID])
            .await,
    ];
    let shopper = world.shop().shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), u32::try_from(BOUGHT).unwrap())]);
    let placed = shopper.place(&order, SOON).await.unwrap();
    let document = format!("{}/asyncapi.json", world.url());
    let mut fits = Program::start(world.command("fits.mjs", &[&document]));
    for subscriber in &mut subscribers {
        let event = subscriber.next().await;
        is_documented(&event, &placed.order_id);
        fits.tell(&event);
        assert_eq!(fits.next().await, json!({"fits": true, "faults": []}));
        for (part, name) in [("data", "total"), ("headers", "cloudEvents:source")] {
            let mut lacking = event.clone();
            lacking[part].as_object_mut().unwrap().remove(name).unwrap();
            fits.tell(&lacking);
            assert_eq!(fits.next().await["fits"], false, "{name} is missing");
        }
    }
}

fn is_documented(event: &Value, order_id: &str) {
    assert_eq!(event["contentType"], "application/json");
    assert_eq!(event["deliveryMode"], 2);
    let attribute = |name: &str| event["headers"][format!("cloudEvents:{name}")].as_str();
    let fixed = [
        ("specversion", "1.0"),
        ("source", "orders"),
        ("type", PAID),
        ("subject", order_id),
        ("partitionkey", order_id),
    ];
    for (name, value) in fixed {
        assert_eq!(attribute(name), Some(value), "{name} in {event}");
    }
    assert_eq!(attribute("id"), event["messageId"].as_str());
    for name in ["id", "correlationid", "causationid"] {
        let id = attribute(name).and_then(|id| id.parse::<Uuid>().ok());
        assert!(id.is_some(), "{name} in {event}");
    }
    assert!(attribute("time").is_some_and(|time| time.ends_with('Z')));
    if let Some(parent) = attribute("traceparent") {
        let parts: Vec<usize> = parent.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{parent}");
    }
    let data = event["data"].as_object().unwrap();
    let names: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(names, ["order_id", "total", "user_id"]);
    assert_eq!(data["order_id"], order_id);
}

fn any_uuid() -> Uuid {
    Uuid::from_u128(fastrand::u128(..))
}

fn reservation(order_id: Uuid, quantity: u32) -> String {
    json!({"order_id": order_id, "lines": [["WB-BELL-01", quantity]]}).to_string()
}

/// A till in a shop of stone takes from the same stock. Its ids are no UUIDs, and it sends each message twice.
async fn what_is_published_is_done_once(world: &World, before: i64) {
    let types = [RESERVED, COMMITTED];
    let mut answers = world
        .subscriber("subscribe.py", "tills.answers", &types)
        .await;
    let order_id = any_uuid();
    let reserve = reservation(order_id, 2);
    let commit = json!({"order_id": order_id}).to_string();
    for _ in 0..2 {
        let sale = [COMMANDS, RESERVE, "tills/3", "sale-4711", &reserve];
        world.publish("publish.py", &sale).await;
    }
    // Another id is another message: its owner repeats its answer.
    let again = [
        COMMANDS,
        RESERVE,
        "tills/3",
        "sale-4711 once more",
        &reserve,
    ];
    world.publish("publish.mjs", &again).await;
    let mut causes = BTreeMap::new();
    for _ in 0..2 {
        count(&mut causes, &answers.next().await, order_id);
    }
    for _ in 0..2 {
        let paid = [COMMANDS, COMMIT, "tills/3", "sale-4711 paid", &commit];
        world.publish("publish.mjs", &paid).await;
    }
    count(&mut causes, &answers.next().await, order_id);
    let expected = [
        ("sale-4711", RESERVED),
        ("sale-4711 once more", RESERVED),
        ("sale-4711 paid", COMMITTED),
    ];
    let known_as = |id| Uuid::new_v5(&FOREIGN, format!("tills/3\n{id}").as_bytes());
    let expected = expected.map(|(id, kind)| ((known_as(id), kind.to_owned()), 1));
    assert_eq!(causes, expected.into());
    // All five were taken in, so there is no answer to come that was not counted.
    for subscription in ["reserve_stock", "commit_stock"] {
        world
            .until("it is idle", async || {
                idle(world, subscription).await.then_some(())
            })
            .await;
    }
    let left = async || (available(&world.shop()).await == before - 2).then_some(());
    world.until("two bells fewer", left).await;
    assert_eq!(
        handled(world).await,
        3,
        "the order's, the sale's, and the one once more"
    );
    world.holds().await;
}

/// Answers, by what they answer and their type.
type Causes = BTreeMap<(Uuid, String), usize>;

fn count(causes: &mut Causes, answer: &Value, order_id: Uuid) {
    assert_eq!(answer["data"], json!({"order_id": order_id}));
    let attribute = |name: &str| answer["headers"][format!("cloudEvents:{name}")].as_str();
    let cause = attribute("causationid").unwrap();
    // Who tells no correlation begins a story of its own.
    assert_eq!(attribute("correlationid"), Some(cause));
    let kind = attribute("type").unwrap().to_owned();
    *causes.entry((cause.parse().unwrap(), kind)).or_insert(0) += 1;
}

/// A subscription of inventory's, as the admin sees it.
async fn subscription(world: &World, name: &str) -> Value {
    let all = world.list("/api/v1/admin/subscriptions").await;
    let mut all = all.into_iter();
    let one = all.find(|it| it["service"] == "inventory" && it["name"] == name);
    one.unwrap()
}

async fn handled(world: &World) -> i64 {
    subscription(world, "reserve_stock").await["handled"]
        .as_i64()
        .unwrap()
}

/// The broker has no message of it, and neither has the shop: there is none that could be handed out again.
async fn idle(world: &World, name: &str) -> bool {
    let seen = subscription(world, name).await;
    let ready = world.ready(&format!("inventory.{name}")).await;
    ready == 0 && seen["waiting"] == 0 && seen["in_flight"] == 0
}

async fn available(shop: &Shop) -> i64 {
    let call = Call::get("/api/v1/products/WB-BELL-01");
    let answer = shop.ask(&call).await.unwrap();
    let product: Value = serde_json::from_slice(&answer.body).unwrap();
    product["available"].as_i64().unwrap()
}

/// Messages of strangers lie in the queue of a paused subscription: nobody of ours has published them, and the audit
/// does not hold them against us.
async fn strangers_who_wait_break_nothing(world: &World) {
    let path = "/api/v1/admin/subscriptions/inventory/reserve_stock";
    world.tell(&format!("{path}/pause")).await;
    for number in 0..3 {
        let reserve = reservation(any_uuid(), 1);
        let id = format!("waiting {number}");
        let args = [COMMANDS, RESERVE, "tills/4", &id, &reserve];
        world.publish("publish.py", &args).await;
    }
    let waiting = async || (world.ready(QUEUE).await == 3).then_some(());
    world.until("three wait", waiting).await;
    world.holds().await;
    world.tell(&format!("{path}/resume")).await;
    let taken = async || idle(world, "reserve_stock").await.then_some(());
    world.until("they are taken", taken).await;
    world.holds().await;
}

/// What `bad.py` sends, and the reason that the dead letter gives.
fn cases() -> BTreeMap<String, String> {
    let cases = [
        ("no id", "undecodable"),
        ("no source", "undecodable"),
        ("another specversion", "undecodable"),
        ("bytes for a source", "undecodable"),
        ("a table for a type", "undecodable"),
        ("another content type", "undecodable"),
        ("compressed", "undecodable"),
        ("garbage", "undecodable"),
        ("empty", "undecodable"),
        ("does not fit", "undecodable"),
        ("another version", "unknown_version"),
        ("ten megabytes", "too_large"),
    ];
    let owned = |(case, reason): (&str, &str)| (case.to_owned(), reason.to_owned());
    cases.map(owned).into()
}

/// Each way of getting it wrong ends as a dead letter with its reason: once, also when it is tried again, until
/// somebody discards it.
async fn bad_input_is_set_aside(world: &World) {
    // Sent twice, it is there once.
    for _ in 0..2 {
        world.publish("bad.py", &[RESERVE]).await;
    }
    let first = letters(world, &[]).await;
    assert_eq!(reasons(world, &first).await, cases());
    nothing_is_looping(world).await;
    assert_eq!(letters(world, &[]).await, first);
    for id in &first {
        world.tell(&format!("{LETTERS}/{id}/retry")).await;
    }
    let second = letters(world, &first).await;
    assert_eq!(reasons(world, &second).await, cases());
    nothing_is_looping(world).await;
    for id in &second {
        world.tell(&format!("{LETTERS}/{id}/discard")).await;
    }
    assert!(world.list(LETTERS).await.is_empty());
    world.holds().await;
}

/// The ids of as many letters as there are cases, none of them of these.
async fn letters(world: &World, earlier: &[String]) -> Vec<String> {
    let all_there = async || {
        let letters = world.list(LETTERS).await;
        let ids = letters
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.filter(|id| !earlier.contains(id)).collect();
        (ids.len() == cases().len() && letters.len() == ids.len()).then_some(ids)
    };
    world.until("all are set aside", all_there).await
}

/// Which case each letter is, by its own headers, and its reason.
async fn reasons(world: &World, ids: &[String]) -> BTreeMap<String, String> {
    let mut reasons = BTreeMap::new();
    for id in ids {
        let answer = world.admin.ask(Call::get(&format!("{LETTERS}/{id}"))).await;
        let letter: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        let headers = &letter["headers"];
        let case = headers["cloudEvents:subject"].as_str();
        let case = case.or(headers["subject"].as_str()).unwrap();
        assert_eq!(letter["subscription"], QUEUE, "{case}");
        assert_eq!(letter["attempts"], 1, "{case}");
        if case == "ten megabytes" {
            let body = letter["body"].as_str().map(str::len);
            assert_eq!(body, Some(KEPT), "its beginning is kept");
        }
        reasons.insert(
            case.to_owned(),
            letter["reason"].as_str().unwrap().to_owned(),
        );
    }
    reasons
}

/// Every message is settled: there is none that the broker could hand out again.
async fn nothing_is_looping(world: &World) {
    let empty = async || idle(world, "reserve_stock").await.then_some(());
    world.until("all is settled", empty).await;
    let given_up = world.ready("wingbeat.dead-letters.inventory").await;
    assert_eq!(given_up, 0, "the broker has given up none");
    world.holds().await;
}

/// A type that nobody takes: whoever asks for it (`mandatory`) is told by the broker.
async fn unroutable_messages_are_told(world: &World) {
    for program in ["publish.mjs", "publish.py"] {
        for exchange in [COMMANDS, EVENTS] {
            let args = [exchange, "inventory.reserve_stock.v9", "tills/3", "9", "{}"];
            let mut command = world.command(program, &args);
            let output = tokio::task::block_in_place(|| command.output()).unwrap();
            assert!(
                !output.status.success(),
                "{program} to {exchange} says nothing"
            );
        }
    }
}

/// What the documents show is what is run here.
#[test]
fn the_documents_show_the_programs_that_are_tested() {
    let page = include_str!("../../../../docs/interoperability.md");
    for program in [
        include_str!("../../interop/subscribe.mjs"),
        include_str!("../../interop/publish.mjs"),
        include_str!("../../interop/subscribe.py"),
        include_str!("../../interop/publish.py"),
    ] {
        assert!(page.contains(program.trim_end()), "{program}");
    }
    assert!(page.contains(&FOREIGN.to_string()));
}
