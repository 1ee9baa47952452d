//! A NestJS service takes part in the shop (`examples/nestjs-loyalty`): it awards points once for each paid order, also if
//! the event is delivered twice or the process is killed.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_client::{Order, Shop, Shopper};
use shop_e2e::interop::{Program, World, installed};
use shop_e2e::process::free_port;
use shop_e2e::proxy::{Forwarding, Proxy};
use shop_e2e::wait::{BOUND, check, until};
use tempfile::TempDir;

const AWARDED: &str = "loyalty.points_awarded.v1";
const PAID: &str = "orders.order_paid.v1";
const QUEUE: &str = "loyalty.order_paid";

/// The compiled service.
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
        assert!(built.unwrap().success(), "the service compiles");
        let port = free_port();
        Self { folder, port }
    }

    /// Starts it and waits until it is ready. It reaches the broker through the proxy.
    async fn start(&self, world: &World, proxy: &Proxy) -> Program {
        let broker = world.servers.broker_at(proxy.port());
        let mut command = Command::new("node");
        command
            .arg("dist/main.js")
            .env("WINGBEAT_BROKER", broker)
            .env("WINGBEAT_STORE", world.servers.store_url())
            .env("PORT", self.port.to_string())
            .current_dir(self.folder.path());
        let program = Program::start(command);
        until("loyalty is ready", async || {
            let answer = self.http().ask(&Call::get("/readyz")).await;
            let status = answer.map_err(|why| why.to_string())?.status;
            check(status == 200, status)
        })
        .await;
        program
    }

    fn http(&self) -> Shop {
        Shop::at(&format!("http://127.0.0.1:{}", self.port)).unwrap()
    }

    async fn points(&self, user: &str) -> i64 {
        let path = format!("/users/{user}/points");
        let answer = self.http().ask(&Call::get(&path)).await.unwrap();
        let account: Value = serde_json::from_slice(&answer.body).unwrap();
        account["points"].as_i64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nestjs_service_awards_points_once() {
    let (world, built) = tokio::join!(World::start(), tokio::task::spawn_blocking(Loyalty::build));
    let loyalty = built.unwrap();
    let proxy = Proxy::to(world.servers.broker_port()).await;
    let first = loyalty.start(&world, &proxy).await;
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

    // The service receives the second order and commits, but neither its acknowledgement nor its event reaches the
    // broker. Then it is killed.
    proxy.set(Forwarding::OnlyToClients);
    let order = buys(&shopper).await;
    let event = paid.next().await;
    until("the points are committed", async || {
        let found = loyalty.points(user).await;
        check(found == 2 * points, found)
    })
    .await;
    first.kill();
    proxy.cut();
    proxy.set(Forwarding::Everything);
    assert!(awards.is_silent(), "the award is not published yet");
    world.until_ready(QUEUE, 1).await;
    let second = loyalty.start(&world, &proxy).await;
    is_award(&awards.next().await, &order, &event);
    settled(&world).await;

    // A relay that was killed before it deleted a confirmed message publishes it again.
    let id = event["messageId"].as_str().unwrap();
    let data = event["data"].to_string();
    for _ in 0..2 {
        let again = ["wingbeat.events", PAID, "orders", id, &data];
        world.publish("publish.py", &again).await;
        assert_eq!(paid.next().await["messageId"], id);
    }
    // A message that cannot be decoded does not block those after it.
    let stray = ["", QUEUE, "nobody", "7", "{}"];
    world.publish("publish.mjs", &stray).await;
    let order = buys(&shopper).await;
    is_award(&awards.next().await, &order, &paid.next().await);
    settled(&world).await;
    assert_eq!(loyalty.points(user).await, 3 * points);
    assert!(awards.is_silent(), "each award is published once");
    world.until_ready("loyalty.dead-letters", 1).await;

    assert!(second.terminate().await, "a terminated service ends with 0");
    world.keeps_its_promises().await;
    world.close();
}

/// Buys two bells, and returns the order's id.
async fn buys(shopper: &Shopper) -> String {
    let order = Order::of([("WB-BELL-01".into(), 2)]);
    shopper.place(&order, BOUND).await.unwrap().order_id
}

/// Checks that the award is for this order and was caused by this event, and returns its points.
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

/// Waits until loyalty has handled all events and published all awards, and the subscriber has received them.
async fn settled(world: &World) {
    until("loyalty has nothing to do", async || {
        let outbox = "SELECT count(*) FROM loyalty.outbox";
        let outbox = tokio::task::block_in_place(|| world.servers.sql(outbox));
        let waiting = world.ready(QUEUE).await + world.ready("books.points").await;
        let done = outbox.trim() == "0" && waiting == 0;
        check(
            done,
            format_args!("{outbox} in the outbox, {waiting} in queues"),
        )
    })
    .await;
}
