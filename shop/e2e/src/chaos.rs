//! A schedule of trouble from a seed, on a fleet under traffic; then everything is healed, and the promises are
//! checked from outside.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::customer::Customer;
use crate::fleet::{Fleet, PASSWORD};
use crate::shopping::{Outcome, Shopping};
use crate::wire::Weather;

/// Shoppers at work.
const SHOPPERS: usize = 30;
/// Orders in flight when trouble begins.
const IN_FLIGHT: usize = 8;
/// Troubles of one run.
const TROUBLES: usize = 8;
/// How long the broker may take to have handed everything out, once all is well again.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// One kind of trouble, with all that was left to chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `kill -9` of a process; it starts again after so many milliseconds.
    Kill(usize, u64),
    /// A process is held still for so long.
    Stop(usize, u64),
    /// A process is asked to end, and starts again.
    Terminate(usize),
    /// The broker ends in good order, for so long.
    BrokerStops(u64),
    /// The broker is killed, for so long.
    BrokerDies(u64),
    /// The broker closes all connections.
    BrokerClosesConnections,
    /// The broker says that it has no memory left, and takes nothing, for so long.
    BrokerBlocks(u64),
    /// PostgreSQL ends at once and recovers.
    StoreRestarts,
    /// PostgreSQL ends all connections.
    StoreCutsOff,
    /// Redis is killed, for so long.
    CacheDies(u64),
    /// Redis forgets everything: everybody is signed out.
    CacheEmptied,
    /// Redis is held still for so long.
    CacheStops(u64),
    /// All connections to a server are cut.
    Cut(Server),
    /// The weather on the way to a server is bad for so long.
    Bad(Server, Weather, u64),
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

impl Trouble {
    /// Draws one for a fleet with so many members, the first of which is the provider.
    fn draw(rng: &mut Rng, members: usize) -> Self {
        let member = rng.usize(0..members);
        let service = rng.usize(1..members);
        let server = [Server::Broker, Server::Store, Server::Cache][rng.usize(0..3)];
        let weather = match rng.u8(0..4) {
            0 => Weather::Late(rng.u64(20..200)),
            1 => Weather::Swallowed,
            2 => Weather::Deaf,
            _ => Weather::Mute,
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
            _ => Self::Bad(server, weather, rng.u64(500..4000)),
        }
    }

    async fn strike(&self, fleet: &mut Fleet) {
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
                tokio::task::block_in_place(|| fleet.servers.broker.stop());
                wait(pause).await;
                tokio::task::block_in_place(|| fleet.servers.broker.start_again());
            }
            Self::BrokerDies(pause) => {
                tokio::task::block_in_place(|| fleet.servers.broker.kill());
                wait(pause).await;
                tokio::task::block_in_place(|| fleet.servers.broker.start_again());
            }
            Self::BrokerClosesConnections => {
                tokio::task::block_in_place(|| fleet.servers.broker.close_connections());
            }
            Self::BrokerBlocks(pause) => {
                tokio::task::block_in_place(|| fleet.servers.broker.block());
                wait(pause).await;
                tokio::task::block_in_place(|| fleet.servers.broker.unblock());
            }
            Self::StoreRestarts => tokio::task::block_in_place(|| {
                fleet.servers.store.stop();
                fleet.servers.store.start_again();
            }),
            Self::StoreCutsOff => {
                tokio::task::block_in_place(|| fleet.servers.store.terminate_backends());
            }
            Self::CacheDies(pause) => {
                tokio::task::block_in_place(|| fleet.servers.cache.kill());
                wait(pause).await;
                tokio::task::block_in_place(|| fleet.servers.cache.start_again());
            }
            Self::CacheEmptied => tokio::task::block_in_place(|| fleet.servers.cache.flush_all()),
            Self::CacheStops(pause) => {
                fleet.servers.cache.pause();
                wait(pause).await;
                fleet.servers.cache.resume();
            }
            Self::Cut(server) => wire(fleet, *server).cut(),
            Self::Bad(server, weather, pause) => {
                wire(fleet, *server).set(*weather);
                wait(pause).await;
                wire(fleet, *server).set(Weather::Clear);
                if *weather != Weather::Clear && !matches!(weather, Weather::Late(_)) {
                    // What was swallowed is missing in the middle of these streams.
                    wire(fleet, *server).cut();
                }
            }
        }
    }
}

/// Asks a process to end, and starts it again.
async fn terminate(fleet: &mut Fleet, member: usize) {
    let status = fleet.members[member].terminate().await;
    let service = fleet.members[member].service;
    // It may just have found a server away at its start.
    if !status.success() && status.code() != Some(2) {
        fleet.crashed.push(format!(
            "{service} was asked to end and ended with {status}"
        ));
    }
    fleet.members[member].start();
}

fn wire(fleet: &Fleet, server: Server) -> &crate::wire::Wire {
    match server {
        Server::Broker => &fleet.servers.to_broker,
        Server::Store => &fleet.servers.to_store,
        Server::Cache => &fleet.servers.to_cache,
    }
}

/// What became of a run.
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// When each trouble struck.
    pub timeline: Vec<(Duration, String)>,
    /// Orders accepted, and what is wrong.
    pub outcome: Outcome,
    /// Logs of all processes.
    pub folder: PathBuf,
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
        for (at, trouble) in &self.timeline {
            writeln!(f, "  {:6.1} s  {trouble}", at.as_secs_f64())?;
        }
        for broken in &self.outcome.broken {
            writeln!(f, "  ! {broken}")?;
        }
        Ok(())
    }
}

/// One run: a fresh fleet, traffic, the troubles of the seed, healing, the verdict.
pub async fn run(seed: u64, binary: PathBuf, folder: &Path, extra: &[(&str, &str)]) -> Run {
    let folder = folder.join(format!("seed-{seed}"));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let mut settings = vec![
        ("WINGBEAT_SHIPPING_DISPATCH_AFTER", "400ms"),
        ("WINGBEAT_SHIPPING_DELIVER_AFTER", "400ms"),
        ("WINGBEAT_CHECKOUT_RESEND_AFTER", "3s"),
    ];
    settings.extend_from_slice(extra);
    let mut fleet = Fleet::start(folder.clone(), binary, &settings).await;
    let customers = Customer::sign_up(&fleet.shop(), SHOPPERS).await.unwrap();
    let shopping = Shopping::of(&fleet.shop(), customers).await;
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    let mut timeline = Vec::new();
    let mut stuck = false;
    for _ in 0..TROUBLES {
        if !shopping.in_flight(IN_FLIGHT).await {
            timeline.push((
                start.elapsed(),
                "no orders in flight for two minutes".into(),
            ));
            stuck = true;
            break;
        }
        fleet.revive();
        let trouble = Trouble::draw(&mut rng, fleet.members.len());
        timeline.push((start.elapsed(), told(&trouble, &fleet)));
        trouble.strike(&mut fleet).await;
    }
    fleet.ready().await;
    let shop = fleet.shop();
    let mut outcome = shopping.end(&shop, PASSWORD).await;
    if stuck {
        outcome
            .broken
            .push("the shop took no orders any more".into());
    }
    outcome.broken.append(&mut fleet.crashed);
    outcome.broken.extend(left_in_queues(&fleet).await);
    let run = Run {
        seed,
        timeline,
        outcome,
        folder: folder.clone(),
    };
    drop(std::fs::write(folder.join("run.txt"), run.to_string()));
    run
}

fn told(trouble: &Trouble, fleet: &Fleet) -> String {
    let of = |member: &usize| fleet.members[*member].service;
    match trouble {
        Trouble::Kill(member, pause) => format!("kill -9 {}, back after {pause} ms", of(member)),
        Trouble::Stop(member, pause) => format!("{} held still for {pause} ms", of(member)),
        Trouble::Terminate(member) => format!("{} restarted in good order", of(member)),
        other => format!("{other:?}"),
    }
}

/// What the broker still holds, once all orders have ended: nothing may be waiting, nothing set aside.
async fn left_in_queues(fleet: &Fleet) -> Vec<String> {
    let until = Instant::now() + DRAINED_WITHIN;
    loop {
        let listed = tokio::task::block_in_place(|| {
            fleet
                .servers
                .broker
                .control(&["list_queues", "name", "messages", "--no-table-headers"])
        });
        let waiting = listed.lines().filter(|line| {
            line.rsplit_once('\t')
                .is_some_and(|(_, count)| count.trim() != "0")
        });
        let waiting: Vec<String> = waiting
            .map(|line| format!("left in the broker: {line}"))
            .collect();
        if waiting.is_empty() || Instant::now() > until {
            return waiting;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
