//! Deterministic simulation of a whole system, one lifetime per seed.
//!
//! Implement [`System`]. [`Simulator`] runs it for many seeds. For each violated invariant it
//! reports the seed, a timeline and a minimal set of faults. [`System`] has an example.

mod client;
mod coverage;
mod exchange;
mod gaps;
mod lifetime;
mod minimize;
mod names;
mod probe;
mod process;
mod schedule;
mod system_wiring;
mod timeline;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::Result;
use wingbeat_core::BoxFuture;
use wingbeat_core::HttpClient;

pub use client::Client;
pub use coverage::{Coverage, DueTimer, Visit};
pub use exchange::{Answer, Ask, Exchange};
pub use gaps::{Gap, Unreachable};
pub use lifetime::Lifetime;
pub use process::{Build, Process};
pub use schedule::{Episode, FAULTS, Fault, Schedule};
pub use world::World;

use crate::test::model::lock;
use crate::test::test_app::NoOutside;
use gaps::{Accepted, Found};
use system_wiring::SystemWiring;

/// The number of failures whose faults are minimized.
const MINIMIZED_MAX: usize = 2;

/// A system under simulation. Each lifetime creates a new one.
///
/// A lifetime goes through these steps:
///
/// 1. The simulator starts the [processes](Self::processes) and calls [`prepare`](Self::prepare).
/// 2. [Clients](Self::clients) send requests, while faults that the seed has drawn take effect.
///    Meanwhile the simulator calls [`while_running`](Self::while_running).
/// 3. Once all clients have finished and all faults have ended, the simulator waits until the
///    system is idle and calls [`when_idle`](Self::when_idle).
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::BoxFuture;
/// use wingbeat::prelude::*;
/// use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "counter.add", version = 1, key = counter)]
/// struct Add { counter: String }
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Counter(u32);
/// # impl Entity for Counter {
/// #     const NAME: &'static str = "counter";
/// #     type Id = String;
/// # }
///
/// async fn add(command: Add, counters: Table<Counter>) -> Result<()> {
///     let add = |counter: Option<Counter>| Counter(counter.unwrap_or_default().0 + 1);
///     counters.update(&command.counter, add).await?;
///     Ok(())
/// }
///
/// struct Counting;
///
/// impl System for Counting {
///     fn new(_: &World) -> Self {
///         Self
///     }
///
///     fn processes(&self) -> Vec<Process> {
///         let app = |_: &_| App::new().service(Service::new("counter").on(add));
///         vec![Process::new("counter", app).replicas(2)]
///     }
///
///     fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
///         let client = Client::new(world, 0);
///         vec![Box::pin(async move { client.world.publish(&Add { counter: "a".into() }).await })]
///     }
///
///     async fn when_idle(&self, world: &World) -> Vec<Violation> {
///         let counters = world.entities::<Counter>("counter");
///         let counted = counters.first().map_or(0, |(_, counter)| counter.0);
///         let wrong = Violation::new("each command counts once", "a", counted.to_string());
///         Vec::from_iter((counted != 1).then_some(wrong))
///     }
/// }
///
/// let report = Simulator::new().run::<Counting>(0..10);
/// assert!(report.failures.is_empty());
/// // After enough seeds, `report.assert_held()` also checks that each fault took effect.
/// ```
pub trait System: Sized + Send + Sync + 'static {
    /// Creates the system for `world`.
    fn new(world: &World) -> Self;

    /// Returns its processes.
    fn processes(&self) -> Vec<Process>;

    /// Returns the client that simulates outside systems. The default fails every call.
    fn outside(&self) -> Arc<dyn HttpClient> {
        Arc::new(NoOutside)
    }

    /// Seeds data before clients and faults start. Does nothing by default.
    fn prepare(&self, _world: &World) -> impl Future<Output = ()> {
        async {}
    }

    /// Returns its clients, one task each. A lifetime continues until all of them have finished.
    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>>;

    /// Returns the violations at this moment. Called every 250 ms.
    fn while_running(&self, _world: &World) -> Vec<Violation> {
        Vec::new()
    }

    /// Returns the violations after all faults have ended and the system is idle.
    fn when_idle(&self, world: &World) -> impl Future<Output = Vec<Violation>>;

    /// Returns the period after the start in which faults can begin.
    fn span(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns the longest timer delay that the simulator waits for. A system with later timers
    /// counts as idle.
    fn horizon(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

/// The violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: String,
    /// The id of the affected object, as it appears in messages.
    pub subject: String,
    /// The description.
    pub detail: String,
}

impl Violation {
    /// Creates a violation.
    pub fn new(
        invariant: impl Into<String>,
        subject: impl ToString,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            invariant: invariant.into(),
            subject: subject.to_string(),
            detail: detail.into(),
        }
    }
}

/// A lifetime that violated an invariant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed that repeats it.
    pub seed: u64,
    /// The violation.
    pub violation: Violation,
    /// The smallest set of faults found that still causes it.
    pub faults: Schedule,
    /// The number of faults before minimization.
    pub faults_before: usize,
    /// The timeline of the subject.
    pub timeline: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            invariant,
            subject,
            detail,
        } = &self.violation;
        writeln!(f, "seed {}: {invariant}: {subject}: {detail}", self.seed)?;
        let (now, before) = (self.faults.episodes.len(), self.faults_before);
        writeln!(f, "  {now} of {before} faults suffice:")?;
        for episode in &self.faults.episodes {
            writeln!(f, "    {episode}")?;
        }
        writeln!(f, "  timeline:")?;
        for line in &self.timeline {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// The result of many lifetimes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The number of lifetimes.
    pub seeds: u64,
    /// The failures, ordered by seed.
    pub failures: Vec<Failure>,
    /// A digest of all events. Equal seeds yield equal digests.
    pub digest: u64,
    /// The coverage.
    pub coverage: Coverage,
    /// The parts of the system and the faults that no lifetime exercised, without accepted gaps.
    pub gaps: Vec<Gap>,
    /// The names of accepted gaps that do not exist.
    pub unmatched: Vec<String>,
}

impl Report {
    /// Panics with a report if an invariant was violated or the coverage has gaps.
    ///
    /// The coverage is complete if the lifetimes exercised each handler, schedule and timer, each
    /// outcome of a call, each input of a saga in each state, and each fault. A simulation that
    /// skips one of them proves nothing about it. [`Simulator::accept_gap`] and
    /// [`Simulator::accept_unreachable`] accept gaps.
    ///
    /// # Panics
    ///
    /// If a lifetime failed or a gap is not accepted.
    pub fn assert_held(&self) {
        assert!(self.failures.is_empty(), "{}", self.summary());
        let complete = self.gaps.is_empty() && self.unmatched.is_empty();
        assert!(complete, "{}", self.uncovered());
    }

    fn uncovered(&self) -> String {
        let gaps = self.gaps.iter().map(|gap| format!("  {gap}\n"));
        let unmatched = self.unmatched.iter();
        let unmatched =
            unmatched.map(|name| format!("  {name}: accepted, but there is no such gap\n"));
        let all: String = gaps.chain(unmatched).collect();
        let seeds = self.seeds;
        format!(
            "the coverage of {seeds} lifetimes has gaps:\n{all}\
             Simulate what is missing, or accept a gap by its name with `Simulator::accept_gap`."
        )
    }

    /// Checks that `invariant`, and no other, was violated. For tests that plant a bug.
    ///
    /// A system with wrong wiring panics in every lifetime. That violates another invariant, so the
    /// test fails.
    ///
    /// # Panics
    ///
    /// If the invariant held in all lifetimes, or another one was violated.
    pub fn assert_found(&self, invariant: &str) {
        let all = self.failures.iter();
        let (found, others): (Vec<_>, Vec<_>) =
            all.partition(|it| it.violation.invariant == invariant);
        assert!(
            others.is_empty(),
            "expected only `{invariant}` to be violated; also violated:\n{}",
            self.summary()
        );
        let seeds = self.seeds;
        assert!(!found.is_empty(), "`{invariant}` held in {seeds} lifetimes");
    }

    fn summary(&self) -> String {
        let failures = self.failures.iter().take(MINIMIZED_MAX);
        let failures: String = failures.map(ToString::to_string).collect();
        format!(
            "{} of {} lifetimes failed:\n{failures}",
            self.failures.len(),
            self.seeds
        )
    }

    /// Creates the report. Minimizes the first failures if `minimizes` is set.
    fn from_runs<S: System>(
        runs: Runs,
        wiring: &SystemWiring,
        accepted: &Accepted,
        minimizes: bool,
    ) -> Self {
        let Found { gaps, unmatched } = Found::of(wiring, &runs.coverage, accepted);
        let mut report = Self {
            seeds: runs.digests.len() as u64,
            digest: runs.digest(),
            coverage: runs.coverage,
            failures: Vec::new(),
            gaps,
            unmatched,
        };
        for (seed, lifetime) in runs.failed {
            let minimizes = minimizes && report.failures.len() < MINIMIZED_MAX;
            let failure = failure::<S>(seed, lifetime, minimizes);
            report.failures.extend(failure);
        }
        report
    }
}

/// Results so far. Lifetimes without a violation keep only their digest.
#[derive(Default)]
struct Runs {
    digests: BTreeMap<u64, u64>,
    failed: BTreeMap<u64, Lifetime>,
    coverage: Coverage,
}

impl Runs {
    fn record(&mut self, seed: u64, lifetime: Lifetime) {
        self.digests.insert(seed, lifetime.digest);
        self.coverage.add(&lifetime.coverage);
        if lifetime.violation.is_some() {
            self.failed.insert(seed, lifetime);
        }
    }

    /// Discards the lifetimes of seeds from `end` on.
    fn truncate(&mut self, end: u64) {
        self.digests.retain(|seed, _| *seed < end);
        self.failed.retain(|seed, _| *seed < end);
    }

    /// Combines the digests in the order of their seeds.
    fn digest(&self) -> u64 {
        // One step of FNV-1a with its 64-bit prime. The rotation spreads the high bits.
        const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
        let fold = |digest: u64, of: &u64| (digest ^ of).wrapping_mul(FNV_PRIME).rotate_left(17);
        self.digests.values().fold(0, fold)
    }
}

fn failure<S: System>(seed: u64, lifetime: Lifetime, minimizes: bool) -> Option<Failure> {
    let violation = lifetime.violation?;
    let faults_before = lifetime.schedule.episodes.len();
    let (faults, timeline) = if minimizes {
        minimize::minimize::<S>(seed, &violation, lifetime.schedule)
    } else {
        (lifetime.schedule, lifetime.timeline)
    };
    Some(Failure {
        seed,
        violation,
        faults,
        faults_before,
        timeline,
    })
}

/// Runs lifetimes of a [`System`] and checks its invariants.
///
/// ```no_run
/// # use wingbeat::BoxFuture;
/// # use wingbeat::test::{Process, System, Violation, World};
/// # struct Shop;
/// # impl System for Shop {
/// #     fn new(_: &World) -> Self { Self }
/// #     fn processes(&self) -> Vec<Process> { Vec::new() }
/// #     fn clients(&self, _: &World) -> Vec<BoxFuture<'static, ()>> { Vec::new() }
/// #     async fn when_idle(&self, _: &World) -> Vec<Violation> { Vec::new() }
/// # }
/// use wingbeat::test::Simulator;
///
/// let report = Simulator::new()
///     .threads(2)
///     .accept_gap("fault cache_outage")
///     .run::<Shop>(0..1_000);
/// report.assert_held();
/// ```
pub struct Simulator {
    threads: usize,
    until_failure: bool,
    minimize: bool,
    accepted: Accepted,
    progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Default for Simulator {
    fn default() -> Self {
        Self {
            threads: 1,
            until_failure: false,
            minimize: true,
            accepted: Accepted::default(),
            progress: None,
        }
    }
}

impl Simulator {
    /// Creates a simulator: one thread, all seeds, minimized failures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of threads. Each lifetime runs on one.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            ..self
        }
    }

    /// Stops after the first failure.
    #[must_use]
    pub fn until_failure(self) -> Self {
        Self {
            until_failure: true,
            ..self
        }
    }

    /// Disables minimization.
    #[must_use]
    pub fn without_minimization(self) -> Self {
        Self {
            minimize: false,
            ..self
        }
    }

    /// Calls `callback` after each lifetime, with the number of finished ones.
    #[must_use]
    pub fn progress(self, callback: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            progress: Some(Arc::new(callback)),
            ..self
        }
    }

    /// Accepts a gap. [`Report::assert_held`] prints the names of gaps.
    ///
    /// Examples of names: `fault cache_outage`, `handler office.sell`, `timer payment
    /// bookings.expired.v1`, `call parcels.order_pickup gave_up`.
    #[must_use]
    pub fn accept_gap(mut self, name: impl Into<String>) -> Self {
        self.accepted.names.insert(name.into());
        self
    }

    /// Accepts that sagas do not receive inputs in states in which they are impossible.
    #[must_use]
    pub fn accept_unreachable(mut self, inputs: impl IntoIterator<Item = Unreachable>) -> Self {
        self.accepted.unreachable.extend(inputs);
        self
    }

    /// Checks the wiring of a system without running it.
    ///
    /// # Errors
    ///
    /// `wiring`, with one line per finding: those of [`App::check`](crate::App::check) for each
    /// process, and commands that no process handles.
    pub fn check<S: System>(seed: u64) -> Result<()> {
        SystemWiring::of::<S>(seed).map(drop)
    }

    /// Runs one lifetime per seed.
    ///
    /// # Panics
    ///
    /// If [`check`](Self::check) returns an error: every lifetime would fail for the same reason.
    #[must_use]
    pub fn run<S: System>(&self, seeds: Range<u64>) -> Report {
        let wiring = SystemWiring::of::<S>(seeds.start).unwrap_or_else(|error| {
            panic!(
                "the system does not start: {error} [{code}: docs/errors/{code}.md]",
                code = error.code()
            )
        });
        let runs = self.run_all::<S>(seeds);
        Report::from_runs::<S>(runs, &wiring, &self.accepted, self.minimize)
    }

    /// Runs the lifetimes on all threads.
    fn run_all<S: System>(&self, seeds: Range<u64>) -> Runs {
        let next = AtomicU64::new(seeds.start);
        let end = AtomicU64::new(seeds.end);
        let runs = Mutex::new(Runs::default());
        let work = || {
            loop {
                // Never beyond the end: the counter would wrap.
                let following = |seed: u64| (seed < end.load(Ordering::SeqCst)).then_some(seed + 1);
                let next = next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, following);
                let Ok(seed) = next else {
                    return;
                };
                let lifetime = Lifetime::run::<S>(seed, None);
                if lifetime.violation.is_some() && self.until_failure {
                    end.fetch_min(seed + 1, Ordering::SeqCst);
                }
                let mut runs = lock(&runs);
                runs.record(seed, lifetime);
                let finished = runs.digests.len() as u64;
                drop(runs);
                if let Some(callback) = &self.progress {
                    callback(finished);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..self.threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Discard lifetimes past the first failure: how many ran depends on the machine.
        runs.truncate(end.into_inner());
        runs
    }
}
