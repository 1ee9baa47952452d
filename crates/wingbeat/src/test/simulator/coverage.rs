//! The coverage of a run: counts of faults, handlers, calls, timers and saga inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex};

use crate::saga::metric;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::schedule::FAULTS;
use crate::test::model::{CACHE, CLIENT, FaultCounts, OUTSIDE, lock};

/// An input to a saga in one of its states.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Visit {
    /// The saga.
    pub saga: String,
    /// Its state, `not_started` or `ended`.
    pub state: String,
    /// The wire type of the input.
    pub input: String,
}

/// Counts of one timer of a saga.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueTimer {
    /// The number of times that the saga set it.
    pub set: u64,
    /// The number of times that it came due.
    pub due: u64,
    /// The number of times that it came due while clients were active and faults could occur.
    pub during_faults: u64,
}

impl AddAssign for DueTimer {
    fn add_assign(&mut self, other: Self) {
        self.set += other.set;
        self.due += other.due;
        self.during_faults += other.during_faults;
    }
}

/// The parts of a system and the faults that lifetimes exercised, with counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// The number of times that each fault took effect.
    pub faults: FaultCounts,
    /// The number of times that each saga received each input in each state. Attempts on stale
    /// state count as well.
    pub visits: BTreeMap<Visit, u64>,
    /// The number of runs of handlers, schedules and calls, by the names of their
    /// [gaps](super::Report::gaps).
    pub runs: BTreeMap<String, u64>,
    /// The timers of sagas, by the names of their gaps.
    pub timers: BTreeMap<String, DueTimer>,
    /// The optional parts that the system used: cache, clients, outside systems.
    pub(super) used: BTreeSet<&'static str>,
}

impl Coverage {
    /// Adds the coverage of another run.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (visit, times) in &other.visits {
            *self.visits.entry(visit.clone()).or_default() += times;
        }
        for (name, times) in &other.runs {
            *self.runs.entry(name.clone()).or_default() += times;
        }
        for (name, timer) in &other.timers {
            *self.timers.entry(name.clone()).or_default() += *timer;
        }
        self.used.extend(&other.used);
    }

    /// Returns whether the fault concerns a part that the system uses.
    pub(super) fn can_fire(&self, fault: &str) -> bool {
        let part = match fault {
            "answer_lost" => CLIENT,
            "cache_lost" | "cache_outage" => CACHE,
            "outside_fails" | "outside_hangs" | "outside_reply_lost" => OUTSIDE,
            _ => return true,
        };
        self.used.contains(part)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults that took effect:")?;
        for fault in FAULTS {
            let times = self.faults.get(fault).copied().unwrap_or(0);
            writeln!(f, "  {fault:<20}{times:>10}")?;
        }
        writeln!(f, "handlers, schedules and calls:")?;
        for (name, times) in &self.runs {
            writeln!(f, "  {name:<60}{times:>10}")?;
        }
        writeln!(f, "timers:")?;
        for (name, DueTimer { set, due, .. }) in &self.timers {
            writeln!(f, "  {name:<60}{set:>10} set{due:>10} due")?;
        }
        writeln!(f, "inputs of sagas, by state:")?;
        for (Visit { saga, state, input }, times) in &self.visits {
            writeln!(f, "  {saga:<12}{state:<14}{input:<36}{times:>10}")?;
        }
        Ok(())
    }
}

/// A metrics recorder that counts visits. It reads the metric that production exports as well.
#[derive(Clone, Default)]
pub(super) struct Listener {
    visits: Arc<Mutex<BTreeMap<Visit, u64>>>,
}

impl Listener {
    pub(super) fn visits(&self) -> BTreeMap<Visit, u64> {
        lock(&self.visits).clone()
    }
}

struct Count {
    visit: Visit,
    visits: Arc<Mutex<BTreeMap<Visit, u64>>>,
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        *lock(&self.visits).entry(self.visit.clone()).or_default() += value;
    }

    fn absolute(&self, _value: u64) {}
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != metric::INPUTS {
            return Counter::noop();
        }
        let label = |name: &str| {
            let found = key.labels().find(|label| label.key() == name);
            found.map_or_else(String::new, |label| label.value().to_owned())
        };
        let visit = Visit {
            saga: label(metric::SAGA),
            state: label(metric::STATE),
            input: label(metric::INPUT),
        };
        Counter::from_arc(Arc::new(Count {
            visit,
            visits: Arc::clone(&self.visits),
        }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
