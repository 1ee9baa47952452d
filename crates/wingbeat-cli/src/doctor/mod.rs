//! `wingbeat doctor`: what is wrong here and now, the most important first.
//!
//! [`Look`] is what the operator's API of each process says at one moment; [`examine`] decides what
//! is wrong with it. The decision is a pure function of two looks and of the options, so tests give
//! it recorded answers. The rules are in three files: about processes, about queues, and about work
//! that waits or has failed.

mod answers;
mod faults;
mod look;
mod processes;
mod queues;
mod report;
mod work;

use std::time::Duration;

pub use answers::{Deviation, Due, Items, Letter, Process, Queue, Schedule, Server};
pub use faults::{FAULTS, Fault, Severity};
pub use look::{Look, Part};
pub use report::{as_json, as_text, explained};

use crate::arguments;
use crate::client::Ask;
use crate::exit::Exit;

/// A fault that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of fault.
    pub fault: &'static Fault,
    /// Its severity, which may be below the usual one of this fault.
    pub severity: Severity,
    /// The subject: a process, a queue, a schedule.
    pub subject: String,
    /// The observation, with figures.
    pub what: String,
}

impl Finding {
    /// Creates a finding with the usual severity of its fault.
    fn new(fault: &'static Fault, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            fault,
            severity: fault.severity,
            subject: subject.into(),
            what: what.into(),
        }
    }

    /// Gives the finding another severity.
    fn with(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// The requirements that `doctor` checks, beside those that every app has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Services, and the number of their processes that must be ready.
    pub replicas: Vec<(String, usize)>,
}

/// Decides what is wrong, from two looks at the same processes. The most important comes first.
#[must_use]
pub fn examine(before: &[Look], now: &[Look], wanted: &Wanted) -> Vec<Finding> {
    let mut findings = processes::found(now, wanted);
    findings.extend(queues::found(before, now));
    findings.extend(work::found(now));
    let rank = |finding: &Finding| {
        let of_fault = FAULTS.iter().position(|it| it.name == finding.fault.name);
        (finding.severity, of_fault, finding.subject.clone())
    };
    findings.sort_by_key(rank);
    findings.dedup();
    findings
}

/// Looks twice at these processes, and decides what is wrong.
pub async fn diagnose(processes: &[&dyn Ask], options: &arguments::Doctor) -> Vec<Finding> {
    let before = Look::all(processes).await;
    tokio::time::sleep(Duration::from_secs_f64(options.interval)).await;
    let now = Look::all(processes).await;
    let wanted = Wanted {
        replicas: options.replicas.clone(),
    };
    examine(&before, &now, &wanted)
}

/// Returns the exit code after these findings: notes are none.
#[must_use]
pub fn exit(findings: &[Finding]) -> Exit {
    let is_wrong = |finding: &Finding| finding.severity != Severity::Note;
    if findings.iter().any(is_wrong) {
        Exit::Found
    } else {
        Exit::Fine
    }
}
