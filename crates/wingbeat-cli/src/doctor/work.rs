//! Faults of work that waits or has failed.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::answers::{Backlog, Due, Items, Letter, Schedule};
use super::faults::{
    BREAKER_OPEN, DEAD_LETTERS, OLD_VERSION_WAITING, OUTBOX_STUCK, PARKED_TOO_OLD, REBUILD_STUCK,
    REPLAY_STUCK, SCHEDULE_FAILED, SCHEDULE_OVERDUE, SCHEDULE_PAUSED, Severity, WORK_OVERDUE,
};
use super::look::{LETTERS_READ, Look, Part};

/// The age at which messages in the outbox count as stuck. A process that has died gives up its
/// messages after half a minute.
const OUTBOX_SECONDS: u64 = 60;
/// The time after which due work counts as overdue. A process that has died gives up its claims
/// after half a minute.
const DUE_SECONDS: u64 = 60;

/// Returns what is wrong with work.
pub(super) fn found(now: &[Look]) -> Vec<Finding> {
    let mut findings = letters(now);
    findings.extend(breakers(now));
    findings.extend(backlogs(now));
    findings.extend(now.iter().flat_map(schedules));
    findings.extend(rebuilds(now));
    findings.extend(replays(now));
    findings
}

/// Returns the entries of a list that all processes report.
fn entries<'a, T: 'a>(
    now: &'a [Look],
    list: fn(&Look) -> &Part<Items<T>>,
) -> impl Iterator<Item = &'a T> {
    let lists = now.iter().filter_map(move |look| list(look).as_ref().ok());
    lists.flat_map(|it| &it.items)
}

/// The dead letters, by subscription and error code.
fn letters(now: &[Look]) -> Vec<Finding> {
    let mut groups = BTreeMap::<(&str, &str), BTreeMap<&str, &Letter>>::new();
    for letter in entries(now, |look| &look.letters) {
        let group = groups.entry((&letter.subscription, &letter.reason));
        group.or_default().insert(&letter.id, letter);
    }
    let finding = |((subscription, reason), letters): ((&str, &str), BTreeMap<&str, &Letter>)| {
        let number = match letters.len() {
            many if many >= LETTERS_READ => format!("{many} or more"),
            few => few.to_string(),
        };
        let example = letters.into_values().next();
        let (id, error) = example.map_or(("", ""), |it| (it.id.as_str(), it.error.as_str()));
        let what = format!("{number} with `{reason}`, such as {id}: {error}");
        Finding::new(&DEAD_LETTERS, subscription, what)
    };
    groups.into_iter().map(finding).collect()
}

fn breakers(now: &[Look]) -> Vec<Finding> {
    let finding = |(name, state): (String, &str)| {
        let finding = Finding::new(&BREAKER_OPEN, name, format!("its breaker is {state}"));
        match state {
            "open" => Some(finding),
            "half_open" => Some(finding.with(Severity::Warning)),
            _ => None,
        }
    };
    let breakers = entries(now, |look| &look.breakers);
    let named = breakers.map(|it| (format!("{}.{}", it.service, it.name), it.state.as_str()));
    named.filter_map(finding).collect()
}

fn backlogs(now: &[Look]) -> Vec<Finding> {
    let paused: BTreeSet<&str> = entries(now, |look| &look.subscriptions)
        .filter(|it| it.state == "paused")
        .map(|it| it.service.as_str())
        .collect();
    let open: BTreeSet<&str> = entries(now, |look| &look.breakers)
        .filter(|it| it.state != "closed")
        .map(|it| it.service.as_str())
        .collect();
    // Replicas read the same store: the first of them counts.
    let mut services = BTreeMap::<&str, &Backlog>::new();
    for backlog in entries(now, |look| &look.backlog) {
        services.entry(&backlog.service).or_insert(backlog);
    }
    let mut findings = Vec::new();
    for (service, backlog) in services {
        findings.extend(outbox(backlog));
        let due = backlog.due.iter();
        // Work of paused subscriptions, and calls that a breaker holds back, wait for a reason.
        let explained = |due: &Due| match due.kind.as_str() {
            "call" => open.contains(service),
            "parked" | "timer" => paused.contains(service),
            _ => false,
        };
        findings.extend(
            due.filter(|it| !explained(it))
                .filter_map(|it| of_due(service, it)),
        );
    }
    findings
}

fn outbox(backlog: &Backlog) -> Option<Finding> {
    let (count, age) = (backlog.outbox.count, backlog.outbox.age_seconds);
    let what = format!("{count} committed messages wait, the oldest for {age} s");
    (age >= OUTBOX_SECONDS).then(|| Finding::new(&OUTBOX_STUCK, &backlog.service, what))
}

fn of_due(service: &str, due: &Due) -> Option<Finding> {
    let (count, age) = (due.overdue.count, due.overdue.age_seconds);
    let late = count > 0 && age >= DUE_SECONDS;
    match due.kind.as_str() {
        "waiting" => {
            let what = format!("{} deliveries wait for another release", due.pending);
            (due.pending > 0).then(|| Finding::new(&OLD_VERSION_WAITING, service, what))
        }
        "parked" => {
            let what = format!("{count} parked deliveries are due, the oldest for {age} s");
            late.then(|| Finding::new(&PARKED_TOO_OLD, service, what))
        }
        kind => {
            let what = format!("{count} records of the kind `{kind}` are due, since {age} s");
            late.then(|| Finding::new(&WORK_OVERDUE, service, what))
        }
    }
}

fn schedules(look: &Look) -> Vec<Finding> {
    let schedules = look.schedules.as_ref().map(|it| it.items.as_slice());
    let schedules = schedules.unwrap_or_default().iter();
    schedules.flat_map(|it| of_schedule(look, it)).collect()
}

fn of_schedule(look: &Look, schedule: &Schedule) -> Vec<Finding> {
    let name = format!("{}.{}", schedule.service, schedule.name);
    if schedule.state == "paused" {
        return vec![Finding::new(&SCHEDULE_PAUSED, name, "it is paused")];
    }
    let mut findings = Vec::new();
    let late = schedule.next.map(|next| look.now().since(next).as_secs());
    if let Some(late) = late.filter(|late| *late >= DUE_SECONDS) {
        let what = format!("its next run was planned {late} s ago");
        findings.push(Finding::new(&SCHEDULE_OVERDUE, &name, what));
    }
    if let Some(error) = schedule.last.as_ref().and_then(|it| it.error.as_ref()) {
        let what = format!("its last run ended with `{error}`");
        findings.push(Finding::new(&SCHEDULE_FAILED, name, what));
    }
    findings
}

fn rebuilds(now: &[Look]) -> Vec<Finding> {
    let finding = |service: &str, table: &str, state: &str, failure: Option<&str>| {
        let subject = format!("{service}.{table}");
        match state {
            "failing" => {
                let what = failure.unwrap_or("it fails").to_owned();
                Some(Finding::new(&REBUILD_STUCK, subject, what))
            }
            "waiting" => {
                let what = "it waits for processes of another release to end";
                Some(Finding::new(&REBUILD_STUCK, subject, what).with(Severity::Warning))
            }
            _ => None,
        }
    };
    let all = entries(now, |look| &look.rebuilds);
    all.filter_map(|it| finding(&it.service, &it.table, &it.state, it.failure.as_deref()))
        .collect()
}

fn replays(now: &[Look]) -> Vec<Finding> {
    let all = entries(now, |look| &look.replays);
    let stuck = all.filter(|it| matches!(it.state.as_str(), "failing" | "waiting"));
    let finding = stuck.map(|it| {
        let waits = "the subscriber has confirmed nothing for ten minutes";
        let why = it.failure.as_deref().unwrap_or(waits);
        let what = format!("{} sends its past: {why}", it.service);
        Finding::new(&REPLAY_STUCK, &it.queue, what)
    });
    finding.collect()
}
