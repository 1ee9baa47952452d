//! Whole lifetimes of a system from one seed each: its processes, its clients, every fault of the
//! model, and what must hold.
//!
//! A user describes a [`System`]; a [`Simulator`] runs it for many seeds and reports which
//! invariant broke, with the seed that repeats it, the story of what broke, and the fewest faults
//! that still break it.
//!
//! - `wiring`: the parts of the system, checked before the first lifetime. `probe`: counts of what
//!   they do. `gaps`, `names`: what no lifetime exercised.
//! - `schedule`: the faults and their times. `process`: the processes. `world`: crashes and
//!   requests. `client`: the clients and their memories. `lifetime`: one seed from its start to its
//!   verdict. `reduce`: fewer faults. `story`: the events around one subject. `coverage`: counts.

mod client;
mod coverage;
mod exchange;
mod gaps;
mod lifetime;
mod names;
mod probe;
mod process;
mod reduce;
mod schedule;
mod story;
mod wiring;
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
use wiring::Wiring;

/// Failures of a run whose faults are reduced; the others wait for their own run.
const REDUCED_MAX: usize = 2;

/// A system under simulation: made anew for each lifetime.
pub trait System: Sized + Send + Sync + 'static {
    /// The system of this world.
    fn new(world: &World) -> Self;

    /// Its processes.
    fn processes(&self) -> Vec<Process>;

    /// What answers its calls to the outside.
    fn outside(&self) -> Arc<dyn HttpClient> {
        Arc::new(Nothing)
    }

    /// What is done before the clients come and anything goes wrong.
    fn prepare(&self, _world: &World) -> impl Future<Output = ()> {
        async {}
    }

    /// Its clients: each is a task, and ends when it has what it wants.
    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>>;

    /// What is broken while it runs; looked at four times a second.
    fn while_running(&self, _world: &World) -> Vec<Violation> {
        Vec::new()
    }

    /// What is broken after everything has healed and come to rest.
    fn at_rest(&self, world: &World) -> impl Future<Output = Vec<Violation>>;

    /// How long faults may begin after the clients came.
    fn span(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// What is due later than this is not waited for.
    fn horizon(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: String,
    /// What it is about: an id, found again in messages.
    pub subject: String,
    /// What is wrong.
    pub detail: String,
}

impl Violation {
    /// A violation.
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
    /// What broke.
    pub violation: Violation,
    /// The fewest faults found that still break it.
    pub faults: Schedule,
    /// How many there were.
    pub faults_before: usize,
    /// What happened to its subject, with those faults.
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
        writeln!(f, "  {now} of {before} faults are enough:")?;
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

/// What many lifetimes have shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many were run.
    pub seeds: u64,
    /// Those that broke, by seed.
    pub failures: Vec<Failure>,
    /// A fingerprint of all that happened: same seeds, same digest.
    pub digest: u64,
    /// Counts of everything that was exercised.
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
    /// With the reports of the failures; without failures with the names of the gaps that are not
    /// accepted, and of accepted gaps that do not exist.
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
             Simulate what is missing, or accept a gap by its name with `Simulator::accept_gap`."
        )
    }

    /// Checks that this invariant was violated, and no other one: for tests that plant a bug to see
    /// that the simulation finds it. A system with wrong wiring panics in every lifetime; that
    /// violates another invariant and fails the test.
    ///
    /// # Panics
    ///
    /// If the invariant held in all lifetimes, or another one did not.
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

/// What is kept of the lifetimes while they run: little of those that held.
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
    /// One thread, all seeds, failures reduced.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many lifetimes side by side; each is still one thread of its own.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            ..self
        }
    }

    /// Stop after the first failure.
    #[must_use]
    pub fn until_failure(self) -> Self {
        Self {
            until_failure: true,
            ..self
        }
    }

    /// Leave the faults of failures as they are.
    #[must_use]
    pub fn without_reduction(self) -> Self {
        Self {
            reduce: false,
            ..self
        }
    }

    /// Is told after every lifetime how many are done.
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
        Wiring::of::<S>(seed).map(drop)
    }

    /// Runs these seeds.
    ///
    /// # Panics
    ///
    /// If [`check`](Self::check) has findings: no lifetime could find anything else.
    #[must_use]
    pub fn run<S: System>(&self, seeds: Range<u64>) -> Report {
        let wiring = Wiring::of::<S>(seeds.start);
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
        // Whatever ran beyond the first failure does not count: how far that was depends on the
        // machine.
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
