//! Outages under load: each part in turn is away for a while, and comes back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::fleet::{Fleet, Plan};
use crate::load::{Answer, Counts, Load};
use crate::servers::Servers;
use crate::verdict::Outcome;

/// The load before and after each outage.
const AROUND: Duration = Duration::from_secs(10);

/// A part that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The payment provider.
    Provider,
    /// The service of that name.
    Payments,
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Store,
    /// Redis.
    Cache,
    /// The service of that name.
    Notifications,
}

/// All parts.
pub const ALL: [Part; 6] = [
    Part::Provider,
    Part::Payments,
    Part::Broker,
    Part::Store,
    Part::Cache,
    Part::Notifications,
];

impl Part {
    /// Kills the part.
    fn kill(self, fleet: &mut Fleet) {
        match self {
            Self::Broker => fleet.servers.broker().kill(),
            Self::Store => fleet.servers.store().stop(),
            Self::Cache => fleet.servers.cache.kill(),
            Self::Provider => of(fleet, "provider", |it| it.kill()),
            Self::Payments => of(fleet, "payments", |it| it.kill()),
            Self::Notifications => of(fleet, "notifications", |it| it.kill()),
        }
    }

    /// Starts the part again.
    fn start(self, fleet: &mut Fleet) {
        match self {
            Self::Broker => fleet.servers.broker().start_again(),
            Self::Store => fleet.servers.store().start_again(),
            Self::Cache => fleet.servers.cache.start_again(),
            Self::Provider => of(fleet, "provider", |it| it.start()),
            Self::Payments => of(fleet, "payments", |it| it.start()),
            Self::Notifications => of(fleet, "notifications", |it| it.start()),
        }
    }
}

fn of(fleet: &mut Fleet, role: &str, change: impl Fn(&mut crate::member::Member)) {
    for member in fleet.of(role) {
        change(member);
    }
}

/// The figures of one outage.
pub struct Figures {
    part: Part,
    /// Orders accepted, and other answers, while the part was away.
    away: Counts,
    /// The longest of 100 attempts that were accepted while the part was away.
    p99: Duration,
    /// Answers after the part was back.
    back: Counts,
    /// From the return until every order that was accepted before it had ended.
    drained: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = format!("{:?}", self.part);
        write!(
            f,
            "{part:<13} | {} | {:.0} ms | {} | {:.1} s",
            self.away,
            self.p99.as_secs_f64() * 1_000.0,
            self.back,
            self.drained.as_secs_f64()
        )
    }
}

/// The columns of [`Figures`].
pub const HEAD: &str =
    "part          | answers while away | p99 of the accepted | answers after | drained after";

/// The result of a run.
pub struct Run {
    /// The figures of each outage.
    pub figures: Vec<Figures>,
    /// The verdict over all orders.
    pub outcome: Outcome,
}

/// Runs the binary as a fleet with `rate` orders a second, and takes each part away for a time.
/// Logs stay in a folder.
pub async fn run(
    parts: &[Part],
    rate: u32,
    away_for: Duration,
    binary: PathBuf,
    folder: &Path,
) -> Run {
    drop(std::fs::remove_dir_all(folder));
    std::fs::create_dir_all(folder).unwrap();
    let plan = Plan::lean()
        .binary(binary)
        .logs_in(folder)
        .on(Servers::private().await)
        .cheap_passwords()
        .ships_after("400ms");
    let mut fleet = plan.start().await;
    let load = Load::prepare(fleet.site(), rate).await;
    let mut figures = Vec::new();
    for part in parts {
        let traffic = load.start();
        tokio::time::sleep(AROUND).await;
        let gone = Instant::now();
        block_in_place(|| part.kill(&mut fleet));
        tokio::time::sleep(away_for.saturating_sub(gone.elapsed())).await;
        let back = Instant::now();
        block_in_place(|| part.start(&mut fleet));
        traffic.stop().await;
        load.drained().await;
        let drained = back.elapsed();
        figures.push(measured(*part, &load.since(gone), back, drained));
        fleet.revive();
        fleet.ready().await;
    }
    let mut outcome = load.judge().await;
    outcome.broken.append(&mut fleet.crashed);
    Run { figures, outcome }
}

fn measured(part: Part, answers: &[Answer], back: Instant, drained: Duration) -> Figures {
    let (after, away): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.at >= back);
    let accepted = away.iter().filter(|answer| answer.is_accepted());
    let mut times: Vec<Duration> = accepted.map(|answer| answer.took).collect();
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied();
    Figures {
        part,
        away: Counts::of(away.into_iter()),
        p99: p99.unwrap_or_default(),
        back: Counts::of(after.into_iter()),
        drained,
    }
}
