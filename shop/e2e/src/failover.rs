//! Failover under load: each server in turn is lost while orders arrive at a fixed rate, and
//! another one takes over behind the same address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use wingbeat_servers::{Postgres, Redis};

use crate::fleet::{Fleet, Plan};
use crate::load::{Answer, Counts, Load};
use crate::servers::Servers;
use crate::verdict::Outcome;

/// The load before and after each failover.
const AROUND: Duration = Duration::from_secs(10);
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
    answers: Counts,
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
             {:.2} s without an accepted order; answers: {}",
            self.lost,
            self.took_over.as_secs_f64(),
            seconds(self.healed),
            seconds(self.steady),
            self.gap.as_secs_f64(),
            self.answers
        )
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
    let load = Load::prepare(fleet.site(), rate).await;
    let traffic = load.start();
    let mut figures = Vec::new();
    for lost in lost {
        tokio::time::sleep(AROUND).await;
        let at = Instant::now();
        block_in_place(|| others.fail_over(*lost, &fleet));
        let over = Instant::now();
        tokio::time::sleep(AROUND).await;
        figures.push(measured(*lost, &load.since(at), at, over));
    }
    traffic.stop().await;
    let outcome = load.judge().await;
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

/// Evaluates the answers since the loss of a server.
fn measured(lost: Lost, answers: &[Answer], at: Instant, over: Instant) -> Figures {
    let accepted = answers.iter().filter(|it| it.is_accepted()).map(|it| it.at);
    let failed = answers
        .iter()
        .filter(|it| !it.is_accepted())
        .map(|it| it.at);
    let last = failed.max().unwrap_or(at).max(over);
    let ended = answers.iter().map(|it| it.at).max().unwrap_or(at);
    let mut times: Vec<Instant> = accepted.collect();
    times.sort_unstable();
    let mut gap = Duration::ZERO;
    let mut before = at;
    for time in &times {
        gap = gap.max(*time - before);
        before = *time;
    }
    let after = |time: &Instant| time.checked_duration_since(over);
    Figures {
        lost,
        took_over: over - at,
        healed: times.iter().find_map(after),
        steady: (ended - last >= STEADY).then(|| last - over),
        gap,
        answers: Counts::of(answers.iter()),
    }
}
