//! Gaps in the coverage of a run, and their acceptance.

use std::collections::BTreeSet;
use std::fmt;

use super::coverage::{Coverage, Visit};
use super::names;
use super::schedule::FAULTS;
use super::system_wiring::SystemWiring;
use crate::saga::{Outline, OutlineInput};

/// A part of the system, or a fault, that no lifetime exercised.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The name under which [`Simulator::accept_gap`](super::Simulator::accept_gap) accepts it.
    pub name: String,
    /// The description.
    pub detail: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.detail)
    }
}

/// Inputs that a saga cannot receive in some states, with the reason.
///
/// [`Simulator::accept_unreachable`](super::Simulator::accept_unreachable) accepts the gaps that
/// they cause.
///
/// ```
/// use wingbeat::test::simulator::Unreachable;
///
/// let never_twice = Unreachable {
///     saga: "payment",
///     states: &["paid", "ended"],
///     inputs: &["payments.paid.v1"],
///     why: "the provider confirms a payment once",
/// };
/// # drop(never_twice);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The name of the saga.
    pub saga: &'static str,
    /// The states; empty for all.
    pub states: &'static [&'static str],
    /// The wire types of the inputs; empty for all.
    pub inputs: &'static [&'static str],
    /// The reason.
    pub why: &'static str,
}

impl Unreachable {
    fn covers(&self, saga: &str, state: &str, input: &str) -> bool {
        let among = |list: &[&str], one: &str| list.is_empty() || list.contains(&one);
        self.saga == saga && among(self.states, state) && among(self.inputs, input)
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            saga,
            states,
            inputs,
            ..
        } = self;
        write!(
            f,
            "saga {saga} {} in {}",
            inputs.join(", "),
            states.join(", ")
        )
    }
}

/// The gaps that a user accepts.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted {
    pub(super) names: BTreeSet<String>,
    pub(super) unreachable: Vec<Unreachable>,
}

/// The difference between the gaps of a run and the accepted ones.
#[derive(Default)]
pub(super) struct Found {
    /// Gaps that are not accepted.
    pub(super) gaps: Vec<Gap>,
    /// Names of accepted gaps that do not exist.
    pub(super) unmatched: Vec<String>,
}

impl Found {
    /// Compares the coverage of a system with its wiring.
    pub(super) fn of(wiring: &SystemWiring, coverage: &Coverage, accepted: &Accepted) -> Self {
        let mut search = Search {
            coverage,
            accepted,
            gaps: Vec::new(),
            matched: BTreeSet::new(),
        };
        search.faults();
        search.handlers(wiring);
        wiring.sagas.values().for_each(|saga| search.saga(saga));
        search.found()
    }
}

struct Search<'a> {
    coverage: &'a Coverage,
    accepted: &'a Accepted,
    gaps: Vec<Gap>,
    /// The indexes of accepted unreachable inputs that cover a gap.
    matched: BTreeSet<usize>,
}

impl Search<'_> {
    fn found(self) -> Found {
        let Accepted { names, unreachable } = self.accepted;
        let (accepted, gaps): (Vec<_>, _) = self
            .gaps
            .into_iter()
            .partition(|gap| names.contains(&gap.name));
        let exists = |name: &&String| accepted.iter().any(|gap| gap.name == **name);
        let unmatched = names.iter().filter(|name| !exists(name)).cloned();
        let unused = unreachable.iter().enumerate();
        let unused = unused.filter(|(at, _)| !self.matched.contains(at));
        let unused = unused.map(|(_, it)| it.to_string());
        Found {
            gaps,
            unmatched: unmatched.chain(unused).collect(),
        }
    }

    fn gap(&mut self, name: String, detail: impl Into<String>) {
        let detail = detail.into();
        self.gaps.push(Gap { name, detail });
    }

    /// Records a gap unless the counter with its name is positive.
    fn require_run(&mut self, name: String, detail: &str) {
        if self
            .coverage
            .runs
            .get(&name)
            .is_none_or(|times| *times == 0)
        {
            self.gap(name, detail);
        }
    }

    fn faults(&mut self) {
        for fault in FAULTS {
            let fired = self
                .coverage
                .faults
                .get(fault)
                .is_some_and(|times| *times > 0);
            if !fired && self.coverage.can_fire(fault) {
                self.gap(names::fault(fault), "the fault never took effect");
            }
        }
    }

    fn handlers(&mut self, wiring: &SystemWiring) {
        for queue in &wiring.handlers {
            self.require_run(
                names::handler(*queue),
                "the handler never handled a message",
            );
        }
        for (service, name) in &wiring.schedules {
            let name = names::schedule(*service, name);
            self.require_run(
                name,
                "the scheduled handler never came due within the simulated time",
            );
        }
        for call in &wiring.calls {
            let details = [
                "no attempt at the call was answered",
                "no attempt at the call failed and was repeated",
                "the call was never given up",
            ];
            for (outcome, detail) in names::CALL_OUTCOMES.into_iter().zip(details) {
                self.require_run(names::call(call, outcome), detail);
            }
        }
    }

    fn saga(&mut self, saga: &Outline) {
        for input in &saga.inputs {
            if !input.timer || self.timer(saga, input) {
                self.input(saga, input);
            }
        }
    }

    /// Records a gap unless the timer came due while faults could occur. Returns whether it ever
    /// came due.
    fn timer(&mut self, saga: &Outline, input: &OutlineInput) -> bool {
        let name = names::timer(saga.name, input.message);
        let timer = self.coverage.timers.get(&name).copied().unwrap_or_default();
        let (set, due) = (timer.set, timer.due);
        if set == 0 {
            self.gap(name, "the timer was never set");
        } else if due == 0 {
            let detail = format!(
                "the timer was set {set} times and never came due within the simulated time: \
                 simulate a shorter delay"
            );
            self.gap(name, detail);
        } else if timer.during_faults == 0 {
            let detail = format!(
                "the timer came due {due} times, but only after the clients and faults had ended: \
                 simulate a shorter delay, or return a longer `System::span`"
            );
            self.gap(name, detail);
        }
        due > 0
    }

    /// Records a gap for each state in which the saga never received the input, or one gap if it
    /// received the input in no state.
    fn input(&mut self, saga: &Outline, input: &OutlineInput) {
        let states = saga.states_for(input);
        let mut missing = Vec::new();
        for state in &states {
            let visited = self.coverage.visited(saga.name, state, input.message);
            if !visited && !self.is_accepted(saga.name, state, input.message) {
                missing.push(*state);
            }
        }
        if missing.len() == states.len() {
            let name = names::input(saga.name, input.message);
            self.gap(name, "the saga never received the input");
            return;
        }
        for state in missing {
            let name = names::transition(saga.name, input.message, state);
            self.gap(name, "the saga never received the input in this state");
        }
    }

    /// Returns whether accepted entries cover the input in this state, and marks them as matched.
    fn is_accepted(&mut self, saga: &str, state: &str, input: &str) -> bool {
        let entries = self.accepted.unreachable.iter().enumerate();
        let covering = entries.filter(|(_, it)| it.covers(saga, state, input));
        let covering: Vec<usize> = covering.map(|(at, _)| at).collect();
        self.matched.extend(&covering);
        !covering.is_empty()
    }
}

impl Coverage {
    fn visited(&self, saga: &str, state: &str, input: &str) -> bool {
        let visit = Visit {
            saga: saga.into(),
            state: state.into(),
            input: input.into(),
        };
        self.visits.get(&visit).is_some_and(|times| *times > 0)
    }
}
