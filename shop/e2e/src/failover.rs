//! Failover under load: each server in turn is lost while orders arrive at a fixed rate, and
//! another one takes over behind the same address.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shop_client::answers::Placed;
use shop_client::http::Call;
use shop_client::{Error, Order};
use tokio::task::{JoinSet, block_in_place};
use wingbeat_servers::{Postgres, Redis};

use crate::customer::Customer;
use crate::fleet::{Fleet, Plan};
use crate::servers::Servers;
use crate::verdict::{self, Accepted, Outcome};
use crate::wait::BOUND;

/// Customers, who take turns.
const CUSTOMERS: usize = 50;
/// The load before and after each failover.
const AROUND: Duration = Duration::from_secs(10);
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// The time for which no order may be refused before the load counts as steady again.
const STEADY: Duration = Duration::from_secs(1);

/// A server that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// PostgreSQL is killed, and its synchronous standby is promoted.
    Store,
    /// Redis is killed, and its replica becomes the master.
    Cache,
    /// The node of RabbitMQ is killed, and starts again on its data.
    Broker,
}

/// All servers.
pub const ALL: [Lost; 3] = [Lost::Store, Lost::Cache, Lost::Broker];

/// The answers of the shop to attempts to place an order.
#[derive(Default)]
struct Answers {
    /// Time, and status or the lack of an answer.
    all: Mutex<Vec<(Instant, String)>>,
    accepted: Mutex<HashMap<String, Accepted>>,
    broken: Mutex<Vec<String>>,
}

impl Answers {
    fn note(&self, answer: String) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((Instant::now(), answer));
    }

    fn broken(&self, what: String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.push(what);
    }
}

/// The figures of one failover.
pub struct Figures {
    lost: Lost,
    /// From the loss until the other server takes over.
    took_over: Duration,
    /// From the takeover until an order is accepted.
    healed: Option<Duration>,
    /// From the takeover until no attempt fails for [`STEADY`].
    steady: Option<Duration>,
    /// The longest time without an accepted order.
    gap: Duration,
    answers: BTreeMap<String, usize>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |it: Option<Duration>| match it {
            Some(it) => format!("{:.2} s", it.as_secs_f64()),
            None => "never".into(),
        };
        write!(
            f,
            "{:?}: taken over after {:.2} s, then orders accepted after {}, none refused after {}; \
             {:.2} s without an accepted order; answers:",
            self.lost,
            self.took_over.as_secs_f64(),
            seconds(self.healed),
            seconds(self.steady),
            self.gap.as_secs_f64()
        )?;
        for (answer, count) in &self.answers {
            write!(f, " {answer}: {count}")?;
        }
        Ok(())
    }
}

/// The result of a run.
pub struct Run {
    /// The figures of each failover.
    pub figures: Vec<Figures>,
    /// The verdict over all orders.
    pub outcome: Outcome,
}

/// Runs the binary as a fleet with `rate` orders a second, and loses these servers in turn. Logs
/// stay in a folder.
pub async fn run(lost: &[Lost], rate: u32, binary: PathBuf, folder: &Path) -> Run {
    drop(std::fs::remove_dir_all(folder));
    std::fs::create_dir_all(folder).unwrap();
    let servers = Servers::private().await;
    let others = block_in_place(|| Others::start(&servers));
    let plan = Plan::lean()
        .binary(binary)
        .logs_in(folder)
        .on(servers)
        .cheap_passwords()
        .ships_after("400ms");
    let fleet = plan.start().await;
    let site = fleet.site();
    let customers = Customer::sign_up(&site.shop, CUSTOMERS).await.unwrap();
    let customers: Vec<_> = customers.into_iter().map(Arc::new).collect();
    let skus: Arc<[String]> = site.in_stock().await.into();
    let (answers, stop) = (Arc::<Answers>::default(), Arc::new(AtomicBool::new(false)));
    let load = Load {
        customers: customers.clone(),
        skus,
        answers: Arc::clone(&answers),
        stop: Arc::clone(&stop),
    };
    let load = tokio::spawn(load.run(rate));
    let mut figures = Vec::new();
    for lost in lost {
        tokio::time::sleep(AROUND).await;
        let at = Instant::now();
        block_in_place(|| others.fail_over(*lost, &fleet));
        let over = Instant::now();
        tokio::time::sleep(AROUND).await;
        figures.push(measured(*lost, &answers, at, over));
    }
    stop.store(true, Ordering::Release);
    load.await.unwrap();
    let take = |it: &Mutex<Vec<String>>| {
        std::mem::take(&mut *it.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let broken = take(&answers.broken);
    let accepted = std::mem::take(
        &mut *answers
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let outcome = verdict::judge(&site, &customers, &accepted, broken).await;
    Run { figures, outcome }
}

/// The servers that take over.
struct Others {
    store: Postgres,
    cache: Redis,
}

impl Others {
    fn start(servers: &Servers) -> Self {
        let store = servers.store().start_standby();
        // A commit waits until the standby has it, so no commit is lost.
        let _ = servers.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        let _ = servers.sql("SELECT pg_reload_conf()");
        let master = format!("127.0.0.1 {}", servers.cache.port());
        let cache = Redis::start_with(&["--replicaof", &master]);
        Self { store, cache }
    }

    /// Loses a server, and lets the other one take over behind its address.
    fn fail_over(&self, lost: Lost, fleet: &Fleet) {
        let servers = &fleet.servers;
        match lost {
            Lost::Store => {
                servers.store().stop();
                self.store.promote();
                servers.to_store.lead_to(self.store.port());
            }
            Lost::Cache => {
                servers.cache.kill();
                self.cache.command("REPLICAOF NO ONE", "+OK");
                servers.to_cache.lead_to(self.cache.port());
            }
            Lost::Broker => {
                servers.broker().kill();
                servers.broker().start_again();
            }
        }
    }
}

/// Orders at a fixed rate, whatever the shop answers.
struct Load {
    customers: Vec<Arc<Customer>>,
    skus: Arc<[String]>,
    answers: Arc<Answers>,
    stop: Arc<AtomicBool>,
}

impl Load {
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
        match customer.shopper().ask(call.clone()).await {
            Ok(answer) if answer.status == 202 => {
                answers.note("202".into());
                let placed: Placed = serde_json::from_slice(&answer.body).unwrap();
                let total = placed.total.amount_minor;
                let accepted = Accepted {
                    customer: number,
                    total,
                };
                let mut all = answers
                    .accepted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                all.insert(placed.order_id, accepted);
                return;
            }
            Ok(answer) => {
                answers.note(format!("{} {}", answer.status.as_u16(), code(&answer.body)));
                if answer.status == 401 {
                    let _ = customer.sign_in(until).await; // Sessions that the replica lacks.
                } else if answer.status.as_u16() < 500 {
                    answers.broken(format!("an order was refused with {}", answer.status));
                    return;
                }
            }
            Err(Error::Http(_)) => answers.note("no answer".into()),
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

/// Evaluates the answers since the loss of a server.
fn measured(lost: Lost, answers: &Answers, at: Instant, over: Instant) -> Figures {
    let all = answers.all.lock().unwrap_or_else(PoisonError::into_inner);
    let since: Vec<&(Instant, String)> = all.iter().filter(|(time, _)| *time >= at).collect();
    let accepted = since.iter().filter(|(_, answer)| answer == "202");
    let accepted: Vec<Instant> = accepted.map(|(time, _)| *time).collect();
    let after = |time: &Instant| time.checked_duration_since(over);
    let failed = since.iter().filter(|(_, answer)| answer != "202");
    let last = failed.map(|(time, _)| *time).max().unwrap_or(at).max(over);
    let ended = since.iter().map(|(time, _)| *time).max().unwrap_or(at);
    let mut times = accepted.iter().copied();
    let mut before = at;
    let mut gap = Duration::ZERO;
    for time in times.by_ref() {
        gap = gap.max(time - before);
        before = time;
    }
    let mut counts = BTreeMap::new();
    for (_, answer) in &since {
        *counts.entry(answer.clone()).or_default() += 1;
    }
    Figures {
        lost,
        took_over: over - at,
        healed: accepted.iter().find_map(after),
        steady: (ended - last >= STEADY).then(|| last - over),
        gap,
        answers: counts,
    }
}
