//! Chaos: a fleet under traffic, faults drawn from a seed, and the verdict once everything is
//! healed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::fleet::{Fleet, Plan};
use crate::member::CANNOT_START;
use crate::meters::Meters;
use crate::proxy::{Forwarding, Proxy};
use crate::servers::Servers;
use crate::shopping::Shopping;
use crate::verdict::Outcome;
use crate::wait::{BOUND, PAUSE};

/// Customers who place orders.
const SHOPPERS: usize = 30;
/// Orders accepted between two faults.
const ORDERS: usize = 8;
/// Faults of one run.
const FAULTS: usize = 8;

/// One fault, with everything that was left to chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed and starts again after so many milliseconds.
    Kill(usize, u64),
    /// A process is paused for so many milliseconds.
    Stop(usize, u64),
    /// A process is terminated and starts again.
    Terminate(usize),
    /// The broker shuts down for so many milliseconds.
    BrokerStops(u64),
    /// The broker is killed for so many milliseconds.
    BrokerDies(u64),
    /// The broker closes all connections.
    BrokerClosesConnections,
    /// The broker blocks publishers with a memory alarm for so many milliseconds.
    BrokerBlocks(u64),
    /// PostgreSQL shuts down at once and recovers.
    StoreRestarts,
    /// PostgreSQL closes all connections.
    StoreCutsOff,
    /// Redis is killed for so many milliseconds.
    CacheDies(u64),
    /// Redis loses all keys: everybody is signed out.
    CacheEmptied,
    /// Redis is paused for so many milliseconds.
    CacheStops(u64),
    /// All connections to a server are cut.
    Cut(Server),
    /// The line to a server is in this state for so many milliseconds.
    Bad(Server, Forwarding, u64),
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Store,
    /// Redis.
    Cache,
}

impl Fault {
    /// Draws a fault for a fleet with so many members, the first of which is the provider.
    fn draw(rng: &mut Rng, members: usize) -> Self {
        let member = rng.usize(0..members);
        let service = rng.usize(1..members);
        let server = [Server::Broker, Server::Store, Server::Cache][rng.usize(0..3)];
        let forwarding = match rng.u8(0..4) {
            0 => Forwarding::Delayed(rng.u64(20..200)),
            1 => Forwarding::Nothing,
            2 => Forwarding::OnlyToServer,
            _ => Forwarding::OnlyToClients,
        };
        match rng.u8(0..18) {
            0..4 => Self::Kill(member, rng.u64(50..1500)),
            4 => Self::Stop(service, rng.u64(1000..5000)),
            5 => Self::Terminate(service),
            6 => Self::BrokerStops(rng.u64(100..2000)),
            7 => Self::BrokerDies(rng.u64(100..2000)),
            8 => Self::BrokerClosesConnections,
            9 => Self::StoreRestarts,
            10 => Self::StoreCutsOff,
            11 => Self::CacheDies(rng.u64(100..2000)),
            12 => Self::CacheStops(rng.u64(500..3000)),
            13 => Self::Cut(server),
            14 => Self::CacheEmptied,
            15 => Self::BrokerBlocks(rng.u64(500..4000)),
            _ => Self::Bad(server, forwarding, rng.u64(500..4000)),
        }
    }

    async fn inject(&self, fleet: &mut Fleet) {
        use tokio::task::block_in_place as blocking;
        let wait = async |millis: &u64| tokio::time::sleep(Duration::from_millis(*millis)).await;
        match self {
            Self::Kill(member, pause) => {
                fleet.members[*member].kill();
                wait(pause).await;
                fleet.members[*member].start();
            }
            Self::Stop(member, pause) => {
                fleet.members[*member].signal("-STOP");
                wait(pause).await;
                fleet.members[*member].signal("-CONT");
            }
            Self::Terminate(member) => terminate(fleet, *member).await,
            Self::BrokerStops(pause) => {
                blocking(|| fleet.servers.broker().stop());
                wait(pause).await;
                blocking(|| fleet.servers.broker().start_again());
            }
            Self::BrokerDies(pause) => {
                blocking(|| fleet.servers.broker().kill());
                wait(pause).await;
                blocking(|| fleet.servers.broker().start_again());
            }
            Self::BrokerClosesConnections => {
                blocking(|| fleet.servers.broker().close_connections());
            }
            Self::BrokerBlocks(pause) => {
                blocking(|| fleet.servers.broker().block());
                wait(pause).await;
                blocking(|| fleet.servers.broker().unblock());
            }
            Self::StoreRestarts => blocking(|| {
                fleet.servers.store().stop();
                fleet.servers.store().start_again();
            }),
            Self::StoreCutsOff => blocking(|| fleet.servers.store().terminate_backends()),
            Self::CacheDies(pause) => {
                blocking(|| fleet.servers.cache.kill());
                wait(pause).await;
                blocking(|| fleet.servers.cache.start_again());
            }
            Self::CacheEmptied => blocking(|| fleet.servers.cache.flush_all()),
            Self::CacheStops(pause) => {
                fleet.servers.cache.pause();
                wait(pause).await;
                fleet.servers.cache.resume();
            }
            Self::Cut(server) => proxy(fleet, *server).cut(),
            Self::Bad(server, forwarding, pause) => {
                proxy(fleet, *server).set(*forwarding);
                wait(pause).await;
                proxy(fleet, *server).set(Forwarding::Everything);
                if *forwarding != Forwarding::Everything
                    && !matches!(forwarding, Forwarding::Delayed(_))
                {
                    // These streams lack the bytes that were discarded.
                    proxy(fleet, *server).cut();
                }
            }
        }
    }
}

/// Terminates a process and starts it again.
async fn terminate(fleet: &mut Fleet, member: usize) {
    let member = &mut fleet.members[member];
    let status = member.terminate().await;
    if !status.success() && status.code() != Some(CANNOT_START) {
        fleet
            .crashed
            .push(format!("{member} was terminated and ended with {status}"));
    }
    member.start();
}

fn proxy(fleet: &Fleet, server: Server) -> &Proxy {
    match server {
        Server::Broker => &fleet.servers.to_broker,
        Server::Store => &fleet.servers.to_store,
        Server::Cache => &fleet.servers.to_cache,
    }
}

/// The result of a run.
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// The faults, with the times of their injection.
    pub timeline: Vec<(Duration, String)>,
    /// Accepted orders, and broken promises.
    pub outcome: Outcome,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.outcome.broken.is_empty() {
            "clean"
        } else {
            "BROKEN"
        };
        writeln!(
            f,
            "seed {}: {verdict}, {} orders",
            self.seed, self.outcome.accepted
        )?;
        for (at, fault) in &self.timeline {
            writeln!(f, "  {:6.1} s  {fault}", at.as_secs_f64())?;
        }
        for broken in &self.outcome.broken {
            writeln!(f, "  ! {broken}")?;
        }
        Ok(())
    }
}

/// Runs the binary as a new fleet with traffic, injects the faults of the seed, heals it, and
/// judges. Logs stay in a folder of the run in `folder`.
pub async fn run(seed: u64, binary: PathBuf, folder: &Path) -> Run {
    let folder = folder.join(format!("seed-{seed}"));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let plan = Plan::standard()
        .signed()
        .binary(binary)
        .logs_in(&folder)
        .on(Servers::private().await)
        .cheap_passwords()
        .ships_after("400ms")
        .with("WINGBEAT_CHECKOUT_RESEND_AFTER", "3s");
    let mut fleet = plan.start().await;
    let shopping = Shopping::signed_up(&fleet.site(), SHOPPERS).await;
    let mut meters = Meters::start(seed, &fleet.servers, &folder).await;
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    let mut timeline = Vec::new();
    let mut stuck = Vec::new();
    for _ in 0..FAULTS {
        if let Err(why) = shopping.accepts(ORDERS).await {
            stuck.push(why);
            break;
        }
        fleet.revive();
        let fault = Fault::draw(&mut rng, fleet.members.len());
        timeline.push((start.elapsed(), described(&fault, &fleet)));
        fault.inject(&mut fleet).await;
        timeline.push((start.elapsed(), meters.disturb().await));
    }
    fleet.ready().await;
    let mut outcome = shopping.end().await;
    outcome.broken.append(&mut stuck);
    outcome.broken.append(&mut fleet.crashed);
    outcome.broken.extend(meters.end().await);
    outcome.broken.extend(left_in_queues(&fleet).await);
    let run = Run {
        seed,
        timeline,
        outcome,
    };
    drop(std::fs::write(folder.join("run.txt"), run.to_string()));
    run
}

fn described(fault: &Fault, fleet: &Fleet) -> String {
    let of = |member: &usize| fleet.members[*member].to_string();
    match fault {
        Fault::Kill(member, pause) => format!("kill -9 {}, back after {pause} ms", of(member)),
        Fault::Stop(member, pause) => format!("{} paused for {pause} ms", of(member)),
        Fault::Terminate(member) => format!("{} terminated and restarted", of(member)),
        other => format!("{other:?}"),
    }
}

/// The register of queues, whose messages stay.
const REGISTER: &str = "wingbeat.topology";

/// Messages that the broker still has once all orders have ended, dead letters included. Its
/// figures are some seconds old.
async fn left_in_queues(fleet: &Fleet) -> Vec<String> {
    let start = Instant::now();
    loop {
        let listed = tokio::task::block_in_place(|| {
            let broker = fleet.servers.broker();
            broker.control(&["list_queues", "name", "messages", "--no-table-headers"])
        });
        let left = listed.lines().filter(|line| {
            line.rsplit_once('\t')
                .is_some_and(|(name, count)| name != REGISTER && count.trim() != "0")
        });
        let left: Vec<String> = left
            .map(|line| format!("left in the broker: {line}"))
            .collect();
        if left.is_empty() || start.elapsed() > BOUND {
            return left;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
