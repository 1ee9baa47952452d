//! What a run has seen: how often each fault fired, and which inputs each saga took in which state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::saga::{Saga, SagaInput as _, metric};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::schedule::FAULTS;
use crate::test::model::{Fired, lock};

/// A saga's state and an input.
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

/// Says that a saga cannot get an input in a state, and why.
#[derive(Clone, Debug)]
pub struct Unreachable {
    /// The saga.
    pub saga: &'static str,
    /// The states; empty for all.
    pub states: &'static [&'static str],
    /// The wire types of the inputs; empty for all.
    pub inputs: &'static [&'static str],
    /// Why that cannot be.
    pub why: &'static str,
}

impl Unreachable {
    fn says(&self, visit: &Visit) -> bool {
        let among = |list: &[&str], one: &str| list.is_empty() || list.contains(&one);
        self.saga == visit.saga
            && among(self.states, &visit.state)
            && among(self.inputs, &visit.input)
    }
}

/// Counts of what a run has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// How often each fault fired.
    pub faults: Fired,
    /// How often each saga took each input in each state.
    pub visits: BTreeMap<Visit, u64>,
}

impl Coverage {
    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (visit, times) in &other.visits {
            *self.visits.entry(visit.clone()).or_default() += times;
        }
    }

    /// Faults that never fired.
    #[must_use]
    pub fn silent(&self) -> Vec<&'static str> {
        let fired = |fault: &&str| self.faults.get(*fault).copied().unwrap_or(0) > 0;
        FAULTS.into_iter().filter(|fault| !fired(fault)).collect()
    }

    /// What of a saga was never visited though nobody says that it cannot be. (An attempt on stale
    /// state is a visit too, and runs again: so being visited does not prove an excuse wrong.)
    #[must_use]
    pub fn gaps<S: Saga>(&self, unreachable: &[Unreachable]) -> Vec<String> {
        let mut gaps = Vec::new();
        for state in S::STATES.iter().chain(&["not_started", "ended"]) {
            for row in S::Input::ROWS {
                let visit = Visit {
                    saga: S::NAME.into(),
                    state: (*state).into(),
                    input: row.message.into(),
                };
                let times = self.visits.get(&visit).copied().unwrap_or(0);
                if times == 0 && !unreachable.iter().any(|it| it.says(&visit)) {
                    let Visit { saga, state, input } = visit;
                    gaps.push(format!("{saga} in {state} never got {input}"));
                }
            }
        }
        gaps
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults that fired:")?;
        for fault in FAULTS {
            let times = self.faults.get(fault).copied().unwrap_or(0);
            writeln!(f, "  {fault:<20}{times:>10}")?;
        }
        writeln!(f, "inputs of sagas, by state:")?;
        for (Visit { saga, state, input }, times) in &self.visits {
            writeln!(f, "  {saga:<12}{state:<14}{input:<36}{times:>10}")?;
        }
        Ok(())
    }
}

/// Listens to the metrics that production has too.
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
