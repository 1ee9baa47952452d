//! Publishing with confirms, consuming with acknowledgements, both at once, and latency, for each
//! client.

use serde_json::Value;
use wingbeat_servers::{Postgres, RabbitMq};

use crate::client::{AMQPRS, LAPIN, LAPIN_HEADERS, LAPIN_MULTIPLE, RUNTIME, TRANSPORT};
use crate::options::Options;
use crate::process::{Process, peer};
use crate::table::Table;

const PUBLISH: &str = "publish + confirm";
const CONSUME: &str = "consume + ack";
const BOTH: &str = "both at once";
const LATENCY: &str = "latency at 500/s";
/// Messages per second while latency is measured.
const RATE: &str = "500";

const RAW: [&str; 3] = [LAPIN, LAPIN_MULTIPLE, AMQPRS];
const OURS: [&str; 2] = [TRANSPORT, RUNTIME];
/// The folders of `benches/peers`.
const PEERS: [&str; 2] = ["nestjs", "golevelup"];

/// The servers and the options.
struct Bench {
    broker: RabbitMq,
    store: Postgres,
    options: Options,
    /// The number of the last queue. Each measurement has a new one.
    number: u32,
}

/// Measures all clients.
pub(crate) async fn run(options: Options, table: &mut Table) {
    let mut bench = Bench {
        broker: RabbitMq::start(),
        store: Postgres::start(),
        options,
        number: 0,
    };
    let peers: &[&'static str] = if options.peers { &PEERS } else { &[] };
    for _ in 0..options.runs {
        for who in RAW.iter().chain(&[LAPIN_HEADERS]).chain(&OURS).chain(peers) {
            bench.backlog(who, table).await;
            bench.both(who, table).await;
            bench.latency(who, table).await;
        }
    }
    goals(table);
}

impl Bench {
    /// Returns a new queue for this client.
    async fn queue(&mut self, who: &str) -> String {
        self.number += 1;
        let queue = format!("bench.{who}-{}", self.number);
        // Our clients declare their queues themselves.
        if !OURS.contains(&who) {
            declare(&self.broker.url(), &queue).await;
        }
        queue
    }

    async fn start(&self, task: &str, who: &str, rest: &[&str]) -> Process {
        let (broker, store) = (self.broker.url(), self.store.url());
        if PEERS.contains(&who) {
            let args = [&[task, &broker], rest].concat();
            return peer(who, "messages.js", &args).await;
        }
        let args = [&[task, who, &broker, &store], rest].concat();
        Process::worker(&args).await
    }

    /// Publishes without a consumer, then consumes the backlog.
    async fn backlog(&mut self, who: &str, table: &mut Table) {
        let queue = self.queue(who).await;
        let seconds = self.options.seconds.to_string();
        let mut producer = self.start("produce", who, &[&queue, &seconds, "0"]).await;
        let before = producer.cpu();
        producer.send("go").await;
        let sent = producer.answer().await;
        let count = number(&sent, "sent");
        table.add(PUBLISH, who, "/s", count / number(&sent, "seconds"));
        table.add(
            PUBLISH,
            who,
            "s CPU/100k",
            (producer.cpu() - before) * 1e5 / count,
        );
        table.add(PUBLISH, who, "MB", producer.peak_mb());
        drop(producer);
        let mut consumer = self.start("consume", who, &[&queue]).await;
        let before = consumer.cpu();
        consumer.send("go").await;
        consumer.send(&format!("total {count}")).await;
        let received = consumer.answer().await;
        table.add(
            CONSUME,
            who,
            "/s",
            rate(&received, number(&received, "first")),
        );
        table.add(
            CONSUME,
            who,
            "s CPU/100k",
            (consumer.cpu() - before) * 1e5 / count,
        );
        table.add(CONSUME, who, "MB", consumer.peak_mb());
        drop(consumer);
        self.delete(&queue).await;
    }

    /// Runs one producer at full speed beside one consumer.
    async fn both(&mut self, who: &str, table: &mut Table) {
        let (received, began) = self.pair(who, "0").await;
        table.add(BOTH, who, "/s", rate(&received, began));
    }

    async fn latency(&mut self, who: &str, table: &mut Table) {
        let (received, _) = self.pair(who, RATE).await;
        table.add(LATENCY, who, "ms p50", number(&received, "p50"));
        table.add(LATENCY, who, "ms p99", number(&received, "p99"));
    }

    async fn pair(&mut self, who: &str, pace: &str) -> (Value, f64) {
        let queue = self.queue(who).await;
        let seconds = self.options.seconds.to_string();
        let mut consumer = self.start("consume", who, &[&queue]).await;
        consumer.send("go").await;
        let mut producer = self.start("produce", who, &[&queue, &seconds, pace]).await;
        producer.send("go").await;
        let sent = producer.answer().await;
        consumer
            .send(&format!("total {}", number(&sent, "sent")))
            .await;
        let received = consumer.answer().await;
        drop((producer, consumer));
        self.delete(&queue).await;
        (received, number(&sent, "began"))
    }

    async fn delete(&self, queue: &str) {
        let connection = connect(&self.broker.url()).await;
        let channel = connection.create_channel().await.unwrap();
        let options = lapin::options::QueueDeleteOptions::default();
        channel.queue_delete(queue.into(), options).await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
    }
}

async fn connect(url: &str) -> lapin::Connection {
    let properties = lapin::ConnectionProperties::default();
    lapin::Connection::connect(url, properties).await.unwrap()
}

/// Declares a durable quorum queue.
pub(crate) async fn declare(url: &str, queue: &str) {
    use lapin::types::{AMQPValue, FieldTable};
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let durable = lapin::options::QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declared = channel.queue_declare(queue.into(), durable, arguments);
    declared.await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

fn number(answer: &Value, name: &str) -> f64 {
    let value = answer.get(name).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("{answer} lacks {name}"))
}

/// Messages per second, from this time to the last message.
fn rate(received: &Value, from: f64) -> f64 {
    number(received, "received") * 1e6 / (number(received, "last") - from)
}

fn goals(table: &mut Table) {
    for what in [PUBLISH, CONSUME] {
        let Some(raw) = table.best(what, &RAW, "/s") else {
            continue;
        };
        for who in OURS {
            let ours = table.median(what, who, "/s").unwrap_or_default();
            let with_headers = table.median(what, LAPIN_HEADERS, "/s").unwrap_or_default();
            let (ratio, beside) = (ours / raw, ours / with_headers);
            let goal = format!("{what}, {who}: 0.95 of the fastest raw client");
            let reached = format!("{ratio:.2}; {beside:.2} of raw lapin with our headers");
            table.goal(goal, reached, ratio >= 0.95);
        }
    }
    for who in OURS {
        let ours = table.median(BOTH, who, "/s").unwrap_or_default();
        let theirs = table.median(BOTH, AMQPRS, "/s").unwrap_or_default();
        let ratio = ours / theirs;
        table.goal(
            format!("{BOTH}, {who}: as amqprs"),
            format!("{ratio:.2}"),
            ratio >= 1.0,
        );
        for unit in ["ms p50", "ms p99"] {
            let ours = table.median(LATENCY, who, unit).unwrap_or_default();
            let theirs = table.median(LATENCY, AMQPRS, unit).unwrap_or_default();
            let goal = format!("{LATENCY}, {who}: {unit} no worse than amqprs");
            table.goal(
                goal,
                format!("{ours:.2} and {theirs:.2}"),
                ours <= theirs * 1.05,
            );
        }
        let cpu = table.median(CONSUME, who, "s CPU/100k").unwrap_or_default();
        table.goal(
            format!("{CONSUME}, {who}: 1.0 s CPU for 100,000"),
            format!("{cpu:.2}"),
            cpu <= 1.0,
        );
    }
}
