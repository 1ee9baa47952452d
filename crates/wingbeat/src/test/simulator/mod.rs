//! Runs lifetimes of a system under every fault of the model, and checks invariants. Each lifetime
//! has its own seed, processes and clients.
//!
//! A user describes a [`System`]; a [`Simulator`] runs it for many seeds and reports which
//! invariant broke, with the seed that repeats it, the story of what broke, and the fewest faults
//! that still break it.
//!
//! - `schedule`: the faults and their times. `process`: the processes. `world`: crashes, requests.
//!   `client`, `exchange`: clients, their requests and answers. `lifetime`: one seed from start to
//!   verdict. `reduce`: fewer faults. `story`: the events around a violation. `coverage`: the
//!   faults and saga inputs that occurred.

mod client;
mod coverage;
mod exchange;
mod gaps;
mod lifetime;
mod probe;
mod process;
mod reduce;
mod schedule;
mod story;
mod system_wiring;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{HttpClient, Result};
use wingbeat_core::BoxFuture;

pub use client::Client;
pub use coverage::{Coverage, DueTimer, Visit};
pub use exchange::{Answer, Ask, Exchange};
pub use gaps::{Gap, Unreachable};
pub use lifetime::Lifetime;
pub use process::{Build, Process};
pub use schedule::{Episode, FAULTS, Fault, Schedule};
pub use world::World;

use crate::test::test_app::Nothing;
use gaps::{Accepted, Found};
use system_wiring::SystemWiring;

/// The number of failures whose faults are reduced. The others are reported as they are.
const REDUCED_MAX: usize = 2;

/// A system under simulation. Each lifetime creates a new one.
pub trait System: Sized + Send + Sync + 'static {
    /// Creates the system of this world.
    fn new(world: &World) -> Self;

    /// Returns its processes.
    fn processes(&self) -> Vec<Process>;

    /// Returns the client that answers its calls to outside systems.
    fn outside(&self) -> Arc<dyn HttpClient> {
        Arc::new(Nothing)
    }

    /// Prepares the system before clients and faults begin.
    fn prepare(&self, _world: &World) -> impl Future<Output = ()> {
        async {}
    }

    /// Returns its clients. Each is a task that ends when the client is done.
    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>>;

    /// Checks invariants while the system runs, four times a second.
    fn while_running(&self, _world: &World) -> Vec<Violation> {
        Vec::new()
    }

    /// Checks invariants after all faults have ended and the system is idle.
    fn at_rest(&self, world: &World) -> impl Future<Output = Vec<Violation>>;

    /// Returns the period in which faults may begin, measured from the start of the clients.
    fn span(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns the furthest due time that a lifetime waits for. Later work counts as idle.
    fn horizon(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: String,
    /// The id that it concerns, which occurs in messages.
    pub subject: String,
    /// The details.
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

/// A lifetime in which an invariant broke.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that repeats it.
    pub seed: u64,
    /// The violation.
    pub violation: Violation,
    /// The smallest set of faults found that still causes it.
    pub faults: Schedule,
    /// The number of faults before the reduction.
    pub faults_before: usize,
    /// The events around its subject, with the reduced faults.
    pub story: Vec<String>,
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
        writeln!(f, "  the story:")?;
        for line in &self.story {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// The results of many lifetimes.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The number of lifetimes.
    pub seeds: u64,
    /// The failed lifetimes, by seed.
    pub failures: Vec<Failure>,
    /// A fingerprint of all lifetimes. Runs with the same seeds have the same digest.
    pub digest: u64,
    /// The coverage of all lifetimes.
    pub coverage: Coverage,
    /// What no lifetime exercised, without the accepted gaps.
    pub gaps: Vec<Gap>,
    /// Accepted gaps that the run does not have.
    pub unmatched: Vec<String>,
}

impl Report {
    /// Checks that no invariant was violated, and that the lifetimes exercised the whole system:
    /// each handler, schedule and timer, each outcome of a call, each input of a saga in each
    /// state, and each fault. A simulation that skips one of them proves nothing about it.
    ///
    /// [`Simulator::accept_gap`] and [`Simulator::accept_unreachable`] accept gaps.
    ///
    /// # Panics
    ///
    /// If a lifetime failed. The message contains the reports.
    pub fn assert_held(&self) {
        assert!(self.failures.is_empty(), "{}", self.told());
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
             Simulate what is missing, or accept a gap with `Simulator::accept_gap(\"<its name>\")`."
        )
    }

    /// Checks that this invariant was violated, and no other one. For tests that plant a bug and
    /// expect the simulation to find it. A system with wrong wiring panics in every lifetime, which
    /// violates another invariant and so fails the test.
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
            "not `{invariant}` alone:\n{}",
            self.told()
        );
        let seeds = self.seeds;
        assert!(!found.is_empty(), "`{invariant}` held in {seeds} lifetimes");
    }

    fn told(&self) -> String {
        let failures = self.failures.iter().take(REDUCED_MAX);
        let told: String = failures.map(ToString::to_string).collect();
        format!(
            "{} of {} lifetimes failed:\n{told}",
            self.failures.len(),
            self.seeds
        )
    }
}

/// The results so far. Of lifetimes without a violation only digest and coverage are kept.
#[derive(Default)]
struct Seen {
    digests: BTreeMap<u64, u64>,
    broken: BTreeMap<u64, Lifetime>,
    coverage: Coverage,
}

impl Seen {
    fn take(&mut self, seed: u64, lifetime: Lifetime) {
        self.digests.insert(seed, lifetime.digest);
        self.coverage.add(&lifetime.coverage);
        if lifetime.violation.is_some() {
            self.broken.insert(seed, lifetime);
        }
    }
}

fn failure<S: System>(seed: u64, lifetime: Lifetime, reduces: bool) -> Option<Failure> {
    let violation = lifetime.violation?;
    let faults_before = lifetime.schedule.episodes.len();
    let (faults, story) = match reduces {
        true => reduce::reduce::<S>(seed, &violation, lifetime.schedule),
        false => (lifetime.schedule, lifetime.story),
    };
    Some(Failure {
        seed,
        violation,
        faults,
        faults_before,
        story,
    })
}

/// Runs lifetimes of a system.
pub struct Simulator {
    threads: usize,
    until_failure: bool,
    reduce: bool,
    accepted: Accepted,
    progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Default for Simulator {
    fn default() -> Self {
        Self {
            threads: 1,
            until_failure: false,
            reduce: true,
            accepted: Accepted::default(),
            progress: None,
        }
    }
}

impl Simulator {
    /// Creates a simulator with one thread that runs all seeds and reduces failures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs this many lifetimes in parallel. Each one still has a single thread.
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

    /// Reports failures with all their faults.
    #[must_use]
    pub fn without_reduction(self) -> Self {
        Self {
            reduce: false,
            ..self
        }
    }

    /// Calls `told` after every lifetime with the number of finished ones.
    #[must_use]
    pub fn progress(self, told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            progress: Some(Arc::new(told)),
            ..self
        }
    }

    /// Accepts that no lifetime exercises what the gap with this name concerns.
    /// [`Report::assert_held`] prints the names, such as `fault cache_outage`, `handler
    /// office.sell`, `timer payment bookings.expired.v1` or `call parcels.order_pickup gave_up`.
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

    /// Checks the wiring of the system of this seed, without running it.
    ///
    /// # Errors
    ///
    /// `wiring`, with one line per finding: those of [`App::check`](crate::App::check) for each
    /// process, and commands that no process handles.
    pub fn check<S: System>(seed: u64) -> Result<()> {
        SystemWiring::of::<S>(seed).map(drop)
    }

    /// Runs the lifetimes of these seeds.
    ///
    /// # Panics
    ///
    /// If [`check`](Self::check) has findings: no lifetime could find anything else.
    #[must_use]
    pub fn run<S: System>(&self, seeds: Range<u64>) -> Report {
        let wiring = SystemWiring::of::<S>(seeds.start);
        let wiring = wiring.unwrap_or_else(|why| {
            panic!(
                "the system does not start: {why} [{code}: docs/errors/{code}.md]",
                code = why.code()
            )
        });
        let next = AtomicU64::new(seeds.start);
        let stop = AtomicU64::new(seeds.end);
        let seen = Mutex::new(Seen::default());
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= stop.load(Ordering::SeqCst) {
                    return;
                }
                let lifetime = Lifetime::run::<S>(seed, None);
                if lifetime.violation.is_some() && self.until_failure {
                    stop.fetch_min(seed + 1, Ordering::SeqCst);
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.take(seed, lifetime);
                let done = seen.digests.len() as u64;
                drop(seen);
                if let Some(told) = &self.progress {
                    told(done);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..self.threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Lifetimes after the first failure do not count: their number depends on the machine.
        let end = stop.into_inner();
        seen.digests.retain(|seed, _| *seed < end);
        seen.broken.retain(|seed, _| *seed < end);
        let fold = |digest: u64, of: &u64| {
            (digest ^ of)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(17)
        };
        let Found { gaps, unmatched } = Found::of(&wiring, &seen.coverage, &self.accepted);
        let mut report = Report {
            seeds: seen.digests.len() as u64,
            digest: seen.digests.values().fold(0, fold),
            coverage: seen.coverage,
            failures: Vec::new(),
            gaps,
            unmatched,
        };
        for (seed, lifetime) in seen.broken {
            let reduces = self.reduce && report.failures.len() < REDUCED_MAX;
            report
                .failures
                .extend(failure::<S>(seed, lifetime, reduces));
        }
        report
    }
}
