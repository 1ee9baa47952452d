//! The load generator: places orders over HTTP and notes when each is confirmed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::{Value, json};
use shop_client::Shop;
use shop_client::http::Call;
use tokio::task::JoinSet;

use super::services;
use crate::workload::percentile;

/// The queue to which the orders service of NestJS publishes.
pub(super) const CONFIRMED_OF_PEER: &str = "confirmed";
/// The number of different products.
const SKUS: u64 = 1000;
/// The time limit for the last confirmation.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first tenth of an open loop is not counted.
const WARM_UP: u64 = 10;

/// The times at which orders were confirmed.
pub(super) struct Confirmations {
    seen: Mutex<HashMap<String, Instant>>,
    _connection: Connection,
}

impl Confirmations {
    /// Consumes the queue, and binds ours to the events of the orders service.
    pub(super) async fn listen(url: &str, queue: &str) -> Arc<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await;
        let connection = connection.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.into(), durable, arguments);
        declared.await.unwrap();
        if queue == services::CONFIRMED {
            let bound = channel.queue_bind(
                queue.into(),
                "wingbeat.events".into(),
                "orders.order_confirmed.v1".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
        let qos = channel.basic_qos(1024, BasicQosOptions::default());
        qos.await.unwrap();
        let options = BasicConsumeOptions::default();
        let opened = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = opened.await.unwrap();
        let confirmations = Arc::new(Self {
            seen: Mutex::default(),
            _connection: connection,
        });
        let listener = Arc::clone(&confirmations);
        drop(tokio::spawn(async move {
            let mut deliveries = consumer.ready_chunks(256);
            while let Some(some) = deliveries.next().await {
                let now = Instant::now();
                let some: Result<Vec<_>, _> = some.into_iter().collect();
                let Ok(some) = some else {
                    return; // The broker has stopped after the last order.
                };
                let last = listener.note(some.into_iter(), now);
                let all = BasicAckOptions { multiple: true };
                channel.basic_ack(last, all).await.unwrap();
            }
        }));
        confirmations
    }

    fn note(
        &self,
        deliveries: impl Iterator<Item = lapin::message::Delivery>,
        now: Instant,
    ) -> u64 {
        let mut seen = self.lock();
        let mut last = 0;
        for delivery in deliveries {
            let body: Value = serde_json::from_slice(&delivery.data).unwrap();
            // NestJS wraps what it emits: {"pattern": …, "data": …}.
            let data = body.get("data").unwrap_or(&body);
            let order = data["order_id"].as_str().unwrap().to_owned();
            seen.entry(order).or_insert(now);
            last = delivery.delivery_tag;
        }
        last
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places orders.
pub(super) struct Load {
    shop: Shop,
    confirmations: Arc<Confirmations>,
    next: AtomicU64,
    accepted: Mutex<Vec<Accepted>>,
}

/// An accepted order.
struct Accepted {
    order: String,
    /// The time at which the request was due.
    due: Instant,
    /// The time from `due` to the response.
    took: Duration,
}

/// The result of a closed loop.
pub(super) struct Flood {
    pub(super) confirmed: usize,
    /// Seconds until the last order was accepted.
    pub(super) accepting: f64,
    /// Seconds until the last order was confirmed.
    pub(super) seconds: f64,
}

/// The result of an open loop, in milliseconds.
pub(super) struct Paced {
    pub(super) accept_p50: f64,
    pub(super) confirm_p50: f64,
    pub(super) confirm_p99: f64,
}

impl Load {
    pub(super) fn new(port: u16, confirmations: Arc<Confirmations>) -> Arc<Self> {
        Arc::new(Self {
            shop: Shop::at(&format!("http://127.0.0.1:{port}")).unwrap(),
            confirmations,
            next: AtomicU64::new(0),
            accepted: Mutex::default(),
        })
    }

    /// Places one order that was due at this time.
    async fn order(&self, due: Instant) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let order = format!("order-{number:012}");
        let sku = format!("sku-{:04}", number.wrapping_mul(0x9E37_79B9) % SKUS);
        let body = json!({"order_id": order, "sku": sku, "quantity": 1, "amount": 1999});
        let call = Call::post("/orders").json(&body);
        let answer = self.shop.ask(&call).await.unwrap();
        assert_eq!(answer.status, 201, "the order is accepted");
        let took = due.elapsed();
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.push(Accepted { order, due, took });
    }

    /// Keeps this number of requests open for a time.
    pub(super) async fn closed(self: &Arc<Self>, at_once: usize, time: Duration) -> Flood {
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..at_once {
            let load = Arc::clone(self);
            clients.spawn(async move {
                while start.elapsed() < time {
                    load.order(Instant::now()).await;
                }
            });
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        let accepting = start.elapsed().as_secs_f64();
        let confirmed = self.all_confirmed().await;
        let last = confirmed.iter().map(|(_, at)| *at).max().unwrap_or(start);
        Flood {
            confirmed: confirmed.len(),
            accepting,
            seconds: (last - start).as_secs_f64(),
        }
    }

    /// Places orders at a fixed rate, without waiting for earlier ones.
    pub(super) async fn open(self: &Arc<Self>, rate: u32, time: Duration) -> Paced {
        let start = Instant::now() + Duration::from_millis(100);
        let mut requests = JoinSet::new();
        let orders = rate * u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        for number in 0..orders {
            let due = start + Duration::from_secs(1) * number / rate;
            tokio::time::sleep_until(due.into()).await;
            let load = Arc::clone(self);
            requests.spawn(async move { load.order(due).await });
        }
        while let Some(done) = requests.join_next().await {
            done.unwrap();
        }
        let confirmed = self.all_confirmed().await;
        let counted = confirmed.len() - confirmed.len() / usize::try_from(WARM_UP).unwrap();
        let late = &confirmed[confirmed.len() - counted..];
        let sorted = |mut micros: Vec<u64>| {
            micros.sort_unstable();
            micros
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let accepts = late.iter().map(|(order, _)| micros(order.took));
        let confirms = late.iter().map(|(order, at)| micros(*at - order.due));
        let (accepts, confirms) = (sorted(accepts.collect()), sorted(confirms.collect()));
        Paced {
            accept_p50: percentile(&accepts, 0.5),
            confirm_p50: percentile(&confirms, 0.5),
            confirm_p99: percentile(&confirms, 0.99),
        }
    }

    /// Waits until every accepted order is confirmed.
    async fn all_confirmed(&self) -> Vec<(Accepted, Instant)> {
        let accepted = {
            let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *accepted)
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let missing = {
                let seen = self.confirmations.lock();
                accepted
                    .iter()
                    .filter(|it| !seen.contains_key(&it.order))
                    .count()
            };
            if missing == 0 {
                break;
            }
            assert!(
                Instant::now() < until,
                "{missing} orders are not confirmed in time"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut seen = self.confirmations.lock();
        let at = |order: Accepted| {
            let at = seen.remove(&order.order).unwrap();
            (order, at)
        };
        accepted.into_iter().map(at).collect()
    }
}
