//! A fixed rate of orders, and the shop's answers to them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shop_client::answers::Placed;
use shop_client::http::Call;
use shop_client::{Error, Order};
use tokio::task::{JoinHandle, JoinSet};

use crate::customer::Customer;
use crate::site::Site;
use crate::verdict::{self, Accepted, Outcome};
use crate::wait::BOUND;

/// Customers, who take turns.
const CUSTOMERS: usize = 50;
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// One answer to an attempt to place an order.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Instant,
    /// The duration of the attempt.
    pub(crate) took: Duration,
    /// `202`, the status and code of a problem, or `no answer`.
    pub(crate) says: String,
}

impl Answer {
    pub(crate) fn is_accepted(&self) -> bool {
        self.says == "202"
    }
}

/// The number of answers of each kind.
#[derive(Default)]
pub(crate) struct Counts(BTreeMap<String, usize>);

impl Counts {
    pub(crate) fn of<'a>(answers: impl Iterator<Item = &'a Answer>) -> Self {
        let mut counts = Self::default();
        for answer in answers {
            *counts.0.entry(answer.says.clone()).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self
            .0
            .iter()
            .map(|(it, count)| format!("{it}: {count}"))
            .collect();
        f.write_str(&counts.join(", "))
    }
}

/// The shop's answers so far.
#[derive(Default)]
struct Answers {
    all: Mutex<Vec<Answer>>,
    accepted: Mutex<HashMap<String, Accepted>>,
    broken: Mutex<Vec<String>>,
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    fn note(&self, began: Instant, says: String) {
        let at = Instant::now();
        let took = at - began;
        locked(&self.all).push(Answer { at, took, says });
    }

    fn broken(&self, what: String) {
        locked(&self.broken).push(what);
    }
}

/// Customers who place orders at a fixed rate, whatever the shop answers.
pub(crate) struct Load {
    site: Site,
    customers: Vec<Arc<Customer>>,
    skus: Arc<[String]>,
    rate: u32,
    answers: Arc<Answers>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Signs the customers up, for `rate` orders a second.
    pub(crate) async fn prepare(site: Site, rate: u32) -> Self {
        let customers = Customer::sign_up(&site.shop, CUSTOMERS).await.unwrap();
        Self {
            customers: customers.into_iter().map(Arc::new).collect(),
            skus: site.in_stock().await.into(),
            rate,
            answers: Arc::default(),
            stop: Arc::default(),
            site,
        }
    }

    /// Starts to place orders.
    pub(crate) fn start(&self) -> Running {
        self.stop.store(false, Ordering::Release);
        let traffic = Traffic {
            customers: self.customers.clone(),
            skus: Arc::clone(&self.skus),
            answers: Arc::clone(&self.answers),
            stop: Arc::clone(&self.stop),
        };
        Running {
            stop: Arc::clone(&self.stop),
            traffic: tokio::spawn(traffic.run(self.rate)),
        }
    }

    /// Returns the answers since this time.
    pub(crate) fn since(&self, at: Instant) -> Vec<Answer> {
        let all = locked(&self.answers.all);
        let since = all.iter().filter(|answer| answer.at >= at);
        since.cloned().collect()
    }

    /// Returns the accepted orders, each with its customer.
    fn accepted(&self) -> Vec<(String, usize)> {
        let accepted = locked(&self.answers.accepted);
        let accepted = accepted.iter().map(|(id, it)| (id.clone(), it.customer));
        accepted.collect()
    }

    /// Waits until all accepted orders have ended, or [`BOUND`] has passed.
    pub(crate) async fn drained(&self) {
        let until = Instant::now() + BOUND;
        for customer in &self.customers {
            // The verdict reports a customer who cannot sign in.
            let _ = customer.sign_in(until).await;
        }
        let mut open = self.accepted();
        while !open.is_empty() && Instant::now() < until {
            let mut left = Vec::new();
            for (id, customer) in open {
                let order = self.customers[customer].shopper().order(&id).await;
                if !order.is_ok_and(|order| order.is_ended()) {
                    left.push((id, customer));
                }
            }
            open = left;
        }
    }

    /// Checks all promises.
    pub(crate) async fn judge(self) -> Outcome {
        let broken = std::mem::take(&mut *locked(&self.answers.broken));
        let accepted = std::mem::take(&mut *locked(&self.answers.accepted));
        verdict::judge(&self.site, &self.customers, &accepted, broken).await
    }
}

/// A load that runs.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    traffic: JoinHandle<()>,
}

impl Running {
    /// Places no more orders, and waits for the answers to those that are on their way.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.traffic.await.unwrap();
    }
}

struct Traffic {
    customers: Vec<Arc<Customer>>,
    skus: Arc<[String]>,
    answers: Arc<Answers>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    async fn run(self, rate: u32) {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut open = JoinSet::new();
        let mut number = 0;
        while !self.stop.load(Ordering::Acquire) {
            tick.tick().await;
            let customer = number % self.customers.len();
            let sku = self.skus[number % self.skus.len()].clone();
            let placing = place(
                customer,
                Arc::clone(&self.customers[customer]),
                Order::of([(sku, 1)]),
                Arc::clone(&self.answers),
            );
            open.spawn(placing);
            number += 1;
            while open.try_join_next().is_some() {}
        }
        while let Some(ended) = open.join_next().await {
            ended.unwrap();
        }
    }
}

/// Places an order, and repeats the request under its key until it is accepted.
async fn place(number: usize, customer: Arc<Customer>, order: Order, answers: Arc<Answers>) {
    let key = shop_client::shop::key();
    let call = Call::post("/api/v1/orders").key(&key).json(&order);
    let until = Instant::now() + BOUND;
    while Instant::now() < until {
        let began = Instant::now();
        match customer.shopper().ask(call.clone()).await {
            Ok(answer) if answer.status == 202 => {
                answers.note(began, "202".into());
                let placed: Placed = serde_json::from_slice(&answer.body).unwrap();
                let total = placed.total.amount_minor;
                let accepted = Accepted {
                    customer: number,
                    total,
                };
                locked(&answers.accepted).insert(placed.order_id, accepted);
                return;
            }
            Ok(answer) => {
                let code = code(&answer.body);
                answers.note(began, format!("{} {code}", answer.status.as_u16()));
                if answer.status == 401 {
                    let _ = customer.sign_in(until).await; // Sessions that the replica lacks.
                } else if answer.status.as_u16() < 500 {
                    answers.broken(format!("an order was refused with {}", answer.status));
                    return;
                }
            }
            Err(Error::Http(_)) => answers.note(began, "no answer".into()),
            Err(why) => return answers.broken(format!("an order failed: {why}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    answers.broken("an order was never accepted".into());
}

fn code(body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or("?").to_owned()
}
