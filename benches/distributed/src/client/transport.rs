//! Our transport without the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use wingbeat::TokioRuntime;
use wingbeat::ports::{Envelope, Kind, Topology, Transport as _};
use wingbeat::transport::Binding;
use wingbeat::{Event, JsonSchema, Message as _, Name, Result, schemars};
use wingbeat_rabbitmq::{Config, RabbitMq};

use crate::protocol::Commands;
use crate::workload::{Body, Job, Pace, Tally, WINDOW};

/// Messages in one call of the transport; two calls are pending, so 256 messages.
const BATCH: usize = 128;

/// The benchmark's body as a message.
#[derive(Event, Clone, Debug, serde::Serialize, serde::Deserialize, JsonSchema)]
#[event(name = "bench.noted", version = 1, key = order)]
pub(super) struct Noted {
    pub(super) order: String,
    pub(super) at: u64,
    sku: String,
    quantity: u32,
    note: String,
}

impl Noted {
    pub(super) fn new(number: u64) -> Self {
        serde_json::from_slice(&Body::bytes(number)).unwrap()
    }
}

/// Connects our transport.
pub(super) async fn connect(job: &Job) -> (Arc<TokioRuntime>, Arc<RabbitMq>) {
    let runtime = TokioRuntime::new();
    let config = Config::new(&job.broker);
    let transport = RabbitMq::connect(&config, runtime.clone()).await.unwrap();
    (runtime, transport)
}

/// A queue that is bound to the message.
pub(super) fn topology(queue: &str) -> Topology {
    let binding = Binding {
        message: Noted::NAME,
        kind: Kind::Event,
    };
    Topology {
        queues: BTreeMap::from([(Name::intern(queue), vec![binding].into())]),
    }
}

fn envelope(runtime: &TokioRuntime, number: u64) -> Envelope {
    let event = Noted::new(number);
    wingbeat::ports::published_by("bench", &event, runtime)
}

pub(super) async fn produce(job: &Job, pace: Pace) {
    let (runtime, transport) = connect(job).await;
    transport.declare(&topology(&job.queue)).await.unwrap();
    let mut commands = Commands::start().await;
    let mut pending = FuturesUnordered::new();
    let (mut schedule, mut sent) = (pace.start(), 0);
    loop {
        let (at_once, most) = if schedule.is_paced() {
            (1, WINDOW)
        } else {
            (BATCH, WINDOW / BATCH)
        };
        while pending.len() < most && schedule.next().await {
            let batch = (0..at_once).map(|_| {
                sent += 1;
                envelope(&runtime, sent)
            });
            pending.push(transport.publish(batch.collect()));
            if schedule.is_paced() {
                while let Some(Some(answers)) = pending.next().now_or_never() {
                    assert!(answers.iter().all(Result::is_ok));
                }
            }
        }
        let Some(answers) = pending.next().await else {
            break;
        };
        assert!(answers.iter().all(Result::is_ok));
    }
    schedule.finish(sent);
    commands.end().await;
}

pub(super) async fn consume(job: &Job) {
    let (_runtime, transport) = connect(job).await;
    transport.declare(&topology(&job.queue)).await.unwrap();
    let commands = Commands::start().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).finish(commands)));
    let queue = Name::intern(&job.queue);
    let mut consumer = transport.consume(queue, WINDOW).await.unwrap();
    let settler = consumer.settler();
    loop {
        let deliveries = consumer.next().await.unwrap();
        for delivery in &deliveries {
            tally.receive(&delivery.envelope.as_ref().unwrap().body);
        }
        let tags: Vec<_> = deliveries.iter().map(|delivery| delivery.tag).collect();
        settler.acknowledge(&tags);
    }
}
