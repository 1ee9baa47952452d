//! A service in NestJS takes part in the shop (`examples/nestjs-loyalty`): points for paid orders, once each, also when
//! the event is delivered twice and the process is killed in between.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Order, Shop, Shopper};
use shop_e2e::process::free_port;
use shop_e2e::strangers::{Program, SOON, World, installed};
use shop_e2e::wire::{Weather, Wire};
use tempfile::TempDir;

const AWARDED: &str = "loyalty.points_awarded.v1";
const PAID: &str = "orders.order_paid.v1";
const QUEUE: &str = "loyalty.order_paid";

/// The service, built.
struct Loyalty {
    folder: TempDir,
    port: u16,
}

impl Loyalty {
    fn build() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nestjs-loyalty");
        let packages = installed(&source, "nestjs-loyalty").join("node_modules");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).unwrap();
        let copied = Command::new("cp")
            .arg("-r")
            .args([source.join("src"), source.join("tsconfig.json")])
            .arg(folder.path())
            .status();
        assert!(copied.unwrap().success());
        let built = Command::new("node")
            .arg("node_modules/typescript/bin/tsc")
            .current_dir(folder.path())
            .status();
        assert!(built.unwrap().success(), "it compiles");
        let port = free_port();
        Self { folder, port }
    }

    /// Starts it, and waits until it is ready. It meets the broker over the wire.
    async fn start(&self, world: &World, wire: &Wire) -> Program {
        let broker = format!("amqp://guest:guest@127.0.0.1:{}", wire.port());
        let mut command = Command::new("node");
        command
            .arg("dist/main.js")
            .env("WINGBEAT_BROKER", broker)
            .env("WINGBEAT_STORE", world.store.url())
            .env("PORT", self.port.to_string())
            .current_dir(self.folder.path());
        let program = Program::start(command);
        let ready = async || {
            let answer = self.http().ask(&Call::get("/readyz")).await.ok()?;
            (answer.status == 200).then_some(())
        };
        world.until("loyalty is ready", ready).await;
        program
    }

    fn http(&self) -> Shop {
        Shop::at(&format!("http://127.0.0.1:{}", self.port)).unwrap()
    }

    async fn points(&self, user: &str) -> i64 {
        let call = format!("/users/{user}/points");
        let answer = self.http().ask(&Call::get(&call)).await.unwrap();
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        told["points"].as_i64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nestjs_service_awards_points_once() {
    let (world, built) = tokio::join!(World::start(), tokio::task::spawn_blocking(Loyalty::build));
    let loyalty = built.unwrap();
    let wire = Wire::to(world.broker.port()).await;
    let first = loyalty.start(&world, &wire).await;
    let mut paid = world
        .subscriber("subscribe.mjs", "books.paid", &[PAID])
        .await;
    let mut awards = world
        .subscriber("subscribe.py", "books.points", &[AWARDED])
        .await;
    let shopper = world.shop().shoppers(1).await.unwrap().remove(0);

    let order = buys(&shopper).await;
    let event = paid.next().await;
    let points = is_award(&awards.next().await, &order, &event);
    let user = event["data"]["user_id"].as_str().unwrap();
    assert_eq!(loyalty.points(user).await, points);

    // It hears of the second order and commits, but neither its acknowledgement nor its event gets anywhere. Then it
    // is killed.
    wire.set(Weather::Mute);
    let order = buys(&shopper).await;
    let event = paid.next().await;
    let committed = async || (loyalty.points(user).await == 2 * points).then_some(());
    world.until("the points are committed", committed).await;
    first.kill();
    wire.cut();
    wire.set(Weather::Clear);
    assert!(awards.is_silent(), "nobody was told of it yet");
    let again = async || (world.ready(QUEUE).await == 1).then_some(());
    world.until("the event is there again", again).await;
    let second = loyalty.start(&world, &wire).await;
    is_award(&awards.next().await, &order, &event);
    settled(&world).await;

    // As a relay of ours does that was killed before it noted what was confirmed.
    let id = event["messageId"].as_str().unwrap();
    let data = event["data"].to_string();
    for _ in 0..2 {
        let again = ["wingbeat.events", PAID, "orders", id, &data];
        world.publish("publish.py", &again).await;
        assert_eq!(paid.next().await["messageId"], id);
    }
    // What cannot be understood does not hold it up.
    let stray = ["", QUEUE, "nobody", "7", "{}"];
    world.publish("publish.mjs", &stray).await;
    let order = buys(&shopper).await;
    is_award(&awards.next().await, &order, &paid.next().await);
    settled(&world).await;
    assert_eq!(loyalty.points(user).await, 3 * points);
    assert!(awards.is_silent(), "each award is told once");
    let set_aside = async || (world.ready("loyalty.dead-letters").await == 1).then_some(());
    world.until("the stray is set aside", set_aside).await;

    assert!(second.terminate().await, "asked to end, it ends with 0");
    world.holds().await;
    world.close();
}

/// Buys two bells, and returns the order's id.
async fn buys(shopper: &Shopper) -> String {
    let order = Order::of([("WB-BELL-01".into(), 2)]);
    shopper.place(&order, SOON).await.unwrap().order_id
}

/// The award is for this order, which this event told of; how many points it is.
fn is_award(award: &Value, order: &str, paid: &Value) -> i64 {
    let cents = paid["data"]["total"]["amount_minor"].as_i64().unwrap();
    let points = cents / 100;
    let user = &paid["data"]["user_id"];
    let expected = json!({"user_id": user, "order_id": order, "points": points});
    assert_eq!(award["data"], expected);
    let attribute = |name: &str| &award["headers"][format!("cloudEvents:{name}")];
    assert_eq!(attribute("source"), "loyalty");
    assert_eq!(attribute("type"), AWARDED);
    assert_eq!(attribute("causationid"), &paid["messageId"]);
    for name in ["correlationid", "traceparent"] {
        let name = format!("cloudEvents:{name}");
        assert_eq!(award["headers"][&name], paid["headers"][&name], "{name}");
    }
    points
}

/// Loyalty has taken over all there is, and told all it has to tell.
async fn settled(world: &World) {
    let done = async || {
        let left = "SELECT count(*) FROM loyalty.outbox";
        let left = tokio::task::block_in_place(|| world.store.sql(left));
        let waiting = world.ready(QUEUE).await + world.ready("books.points").await;
        (left.trim() == "0" && waiting == 0).then_some(())
    };
    world.until("nothing is on its way", done).await;
}
