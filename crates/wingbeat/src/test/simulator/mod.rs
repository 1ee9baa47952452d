//! Whole lifetimes of a system from one seed each: its processes, its clients, every fault of the
//! model, and what must hold.
//!
//! A user describes a [`System`]; a [`Simulator`] runs it for many seeds and reports which
//! invariant broke, with the seed that repeats it, the story of what broke, and the fewest faults
//! that still break it.
//!
//! - `schedule`: which faults, when. `process`: what runs. `world`: crashes, requests. `client`:
//!   who asks, and what was heard. `lifetime`: one seed from start to verdict. `reduce`: fewer
//!   faults. `story`: what happened to one thing. `coverage`: what a run has seen.

mod client;
mod coverage;
mod exchange;
mod lifetime;
mod process;
mod reduce;
mod schedule;
mod story;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::HttpClient;
use wingbeat_core::BoxFuture;

pub use client::Client;
pub use coverage::{Coverage, Unreachable, Visit};
pub use exchange::{Answer, Ask, Exchange};
pub use lifetime::Lifetime;
pub use process::{Build, Process};
pub use schedule::{Episode, FAULTS, Fault, Schedule};
pub use world::World;

use crate::test::test_app::Nothing;

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
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Report {
    /// How many were run.
    pub seeds: u64,
    /// Those that broke, by seed.
    pub failures: Vec<Failure>,
    /// A fingerprint of all that happened: same seeds, same digest.
    pub digest: u64,
    /// What was seen.
    pub coverage: Coverage,
}

impl Report {
    /// Checks that no invariant was violated.
    ///
    /// # Panics
    ///
    /// With the reports of the failures.
    pub fn assert_held(&self) {
        assert!(self.failures.is_empty(), "{}", self.told());
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
    progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl Default for Simulator {
    fn default() -> Self {
        Self {
            threads: 1,
            until_failure: false,
            reduce: true,
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

    /// Runs these seeds.
    #[must_use]
    pub fn run<S: System>(&self, seeds: Range<u64>) -> Report {
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
        let mut report = Report {
            seeds: seen.digests.len() as u64,
            digest: seen.digests.values().fold(0, fold),
            coverage: seen.coverage,
            failures: Vec::new(),
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
