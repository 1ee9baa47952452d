//! Clients in other languages take part in the shop with an AMQP library and the documentation
//! alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Order, Shop};
use shop_e2e::interop::{Program, World};
use shop_e2e::wait::{BOUND, check, until};
use uuid::Uuid;

const COMMANDS: &str = "wingbeat.commands";
const EVENTS: &str = "wingbeat.events";
const RESERVE: &str = "inventory.reserve_stock.v1";
const RESERVED: &str = "inventory.stock_reserved.v1";
const COMMIT: &str = "inventory.commit_stock.v1";
const COMMITTED: &str = "inventory.stock_committed.v1";
const PAID: &str = "orders.order_paid.v1";
const LETTERS: &str = "/api/v1/admin/dead-letters";
/// The queue that most of these messages go to.
const QUEUE: &str = "inventory.reserve_stock";
/// The dead letter of a message that is too large keeps so many bytes of it.
const KEPT: usize = 64 << 10;
/// The bells in the order.
const BOUGHT: i64 = 2;
/// The name space of ids that are no UUIDs, from `docs/interoperability.md`.
const FOREIGN: Uuid = Uuid::from_u128(0x5f1b_64e7_7d0a_4f2e_9b1c_0c8e_53a1_77d4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_other_languages_take_part() {
    let world = World::start().await;
    let stocked = available(&world.shop()).await;
    subscribers_receive_documented_cloud_events(&world).await;
    a_published_command_is_handled_once(&world, stocked - BOUGHT).await;
    waiting_foreign_messages_break_no_promise(&world).await;
    invalid_messages_become_dead_letters(&world).await;
    unroutable_messages_are_returned(&world).await;
    world.keeps_its_promises().await;
    world.close();
}

/// Node and Python both receive the event of a paid order as it is documented.
async fn subscribers_receive_documented_cloud_events(world: &World) {
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
    let placed = shopper.place(&order, BOUND).await.unwrap();
    let document = format!("{}/asyncapi.json", world.url());
    let mut fits = Program::start(world.command("fits.mjs", &[&document]));
    for subscriber in &mut subscribers {
        let event = subscriber.next().await;
        is_documented(&event, &placed.order_id);
        fits.send(&event);
        assert_eq!(fits.next().await, json!({"fits": true, "faults": []}));
        for (part, name) in [("data", "total"), ("headers", "cloudEvents:source")] {
            let mut lacking = event.clone();
            lacking[part].as_object_mut().unwrap().remove(name).unwrap();
            fits.send(&lacking);
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

/// The till of another shop takes from the same stock. Its ids are no UUIDs, and it sends each
/// message twice.
async fn a_published_command_is_handled_once(world: &World, before: i64) {
    let handled_before = handled(world).await;
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
    // Another id is another message: inventory repeats its answer.
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
    // All five commands are handled, so every answer was counted.
    world.site.until_quiet().await;
    until("two bells fewer are available", async || {
        let available = available(&world.shop()).await;
        check(available == before - 2, available)
    })
    .await;
    let handled = handled(world).await - handled_before;
    assert_eq!(
        handled, 2,
        "the sale's command, and the same with another id"
    );
    world.keeps_its_promises().await;
}

/// The number of answers by their cause and their type.
type Causes = BTreeMap<(Uuid, String), usize>;

fn count(causes: &mut Causes, answer: &Value, order_id: Uuid) {
    assert_eq!(answer["data"], json!({"order_id": order_id}));
    let attribute = |name: &str| answer["headers"][format!("cloudEvents:{name}")].as_str();
    let cause = attribute("causationid").unwrap();
    // A message without a correlation is the first of its own.
    assert_eq!(attribute("correlationid"), Some(cause));
    let kind = attribute("type").unwrap().to_owned();
    *causes.entry((cause.parse().unwrap(), kind)).or_insert(0) += 1;
}

/// The commands to reserve stock that inventory has handled.
async fn handled(world: &World) -> i64 {
    let site = &world.site;
    let subscription = site
        .subscription(&world.admin, "inventory", "reserve_stock")
        .await;
    subscription["handled"].as_i64().unwrap()
}

async fn available(shop: &Shop) -> i64 {
    let call = Call::get("/api/v1/products/WB-BELL-01");
    let answer = shop.ask(&call).await.unwrap();
    let product: Value = serde_json::from_slice(&answer.body).unwrap();
    product["available"].as_i64().unwrap()
}

/// Messages of another program wait in the queue of a paused subscription. No service has published
/// them, and the audit does not count them as lost.
async fn waiting_foreign_messages_break_no_promise(world: &World) {
    let control = async |control| {
        let (site, admin) = (&world.site, &world.admin);
        site.control(admin, "inventory", "reserve_stock", control)
            .await;
    };
    control("pause").await;
    for number in 0..3 {
        let reserve = reservation(any_uuid(), 1);
        let id = format!("waiting {number}");
        let args = [COMMANDS, RESERVE, "tills/4", &id, &reserve];
        world.publish("publish.py", &args).await;
    }
    world.until_ready(QUEUE, 3).await;
    world.keeps_its_promises().await;
    control("resume").await;
    world.site.until_quiet().await;
    world.keeps_its_promises().await;
}

/// The messages of `bad.py` and the reasons of their dead letters.
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

/// Each kind of invalid message becomes one dead letter with its reason, which comes back after a
/// retry, until it is discarded.
async fn invalid_messages_become_dead_letters(world: &World) {
    // Messages that are sent twice become one dead letter each.
    for _ in 0..2 {
        world.publish("bad.py", &[RESERVE]).await;
    }
    let first = letters(world, 0).await;
    assert_eq!(reasons(world, &first).await, cases());
    nothing_is_redelivered(world).await;
    assert_eq!(letters(world, 0).await, first);
    for id in &first {
        world.post(&format!("{LETTERS}/{id}/retry")).await;
    }
    let second = letters(world, 1).await;
    assert_eq!(reasons(world, &second).await, cases());
    nothing_is_redelivered(world).await;
    for id in &second {
        world.post(&format!("{LETTERS}/{id}/discard")).await;
    }
    assert!(world.list(LETTERS).await.is_empty());
    world.keeps_its_promises().await;
}

/// Waits until there are as many dead letters as cases, each of which was retried so often, and
/// returns their ids.
async fn letters(world: &World, retries: u64) -> Vec<String> {
    until("there is a dead letter for each case", async || {
        let letters = world.list(LETTERS).await;
        let ids = letters
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        let retried = letters.iter().all(|it| it["retries"] == retries);
        let complete = retried && ids.len() == cases().len();
        check(complete, format_args!("{letters:?}")).map(|()| ids)
    })
    .await
}

/// The reason of each dead letter by its case, which its headers name.
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
            assert_eq!(body, Some(KEPT), "the letter keeps its beginning");
        }
        reasons.insert(
            case.to_owned(),
            letter["reason"].as_str().unwrap().to_owned(),
        );
    }
    reasons
}

/// Every message is settled, so the broker can redeliver none, and it has dead-lettered none
/// itself.
async fn nothing_is_redelivered(world: &World) {
    world.site.until_quiet().await;
    assert_eq!(world.ready("wingbeat.dead-letters.inventory").await, 0);
    world.keeps_its_promises().await;
}

/// The broker returns a mandatory message of a type to which no queue is bound.
async fn unroutable_messages_are_returned(world: &World) {
    for program in ["publish.mjs", "publish.py"] {
        for exchange in [COMMANDS, EVENTS] {
            let args = [exchange, "inventory.reserve_stock.v9", "tills/3", "9", "{}"];
            let mut command = world.command(program, &args);
            let output = tokio::task::block_in_place(|| command.output()).unwrap();
            assert!(
                !output.status.success(),
                "{program} to {exchange} reports success"
            );
        }
    }
}

#[test]
fn the_documentation_shows_the_tested_programs() {
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
