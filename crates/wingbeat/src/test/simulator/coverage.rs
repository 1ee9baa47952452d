//! The coverage of a run: the faults that took effect, and the inputs that each saga handled in
//! each state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex};

use crate::saga::metric;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::schedule::FAULTS;
use crate::test::model::{CACHE, CLIENT, Fired, OUTSIDE, lock};

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

/// A timer of a saga: how often it was set, and came due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueTimer {
    /// How often it was set, or set again.
    pub set: u64,
    /// How often it came due.
    pub due: u64,
    /// How often it came due while clients were active and faults could happen.
    pub disturbed: u64,
}

impl AddAssign for DueTimer {
    fn add_assign(&mut self, other: Self) {
        self.set += other.set;
        self.due += other.due;
        self.disturbed += other.disturbed;
    }
}

/// Counts of everything that lifetimes exercised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// The number of times that each fault took effect.
    pub faults: Fired,
    /// How often each saga received each input in each state. An attempt on stale state, which runs
    /// again, counts as well.
    pub visits: BTreeMap<Visit, u64>,
    /// How often handlers, schedules and calls ran, by the names that their
    /// [gaps](super::Report::gaps) would have.
    pub runs: BTreeMap<String, u64>,
    /// The timers of sagas, by the names that their gaps would have.
    pub timers: BTreeMap<String, DueTimer>,
    /// What was used of the parts that only some systems have.
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

    /// Returns whether the system uses the part that this fault concerns.
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

/// A metrics recorder that counts visits, from the metrics that production has too.
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
