//! Faults of queues and subscriptions.

use std::collections::BTreeMap;

use super::Finding;
use super::answers::{Deviation, Queue};
use super::faults::{
    LAG_GROWING, QUEUE_ORPHANED, QUEUE_WITHOUT_CONSUMER, RATE_LIMITED, SUBSCRIPTION_PAUSED,
    Severity, TOPOLOGY_WRONG, UNROUTABLE,
};
use super::look::Look;

/// A queue of fewer messages does not count as growing: two looks meet short bursts.
const GROWTH_MIN: u64 = 10;

/// Returns what is wrong with queues.
pub(super) fn found(before: &[Look], now: &[Look]) -> Vec<Finding> {
    let (earlier, queues) = (joined(before), joined(now));
    let paused = paused(now);
    let mut findings = Vec::new();
    for (name, queue) in &queues {
        if queue.paused || paused.contains_key(name) {
            continue; // Its messages wait because somebody wants it.
        }
        let grown = earlier.get(name).and_then(|it| grown(it, queue));
        findings.extend(without_consumer(name, queue));
        findings.extend(limited(name, queue));
        if !queue.limited && queue.consumers != Some(0) {
            findings.extend(grown.map(|what| Finding::new(&LAG_GROWING, name, what)));
        }
    }
    findings.extend(paused.into_iter().map(|(name, waiting)| {
        let what = format!("it is paused; {waiting} messages wait");
        Finding::new(&SUBSCRIPTION_PAUSED, name, what)
    }));
    findings.extend(deviations(now));
    findings.extend(unroutable(now));
    findings
}

/// Merges what the processes say about each queue.
fn joined(looks: &[Look]) -> BTreeMap<String, Queue> {
    let mut all = BTreeMap::<String, Queue>::new();
    let queues = looks.iter().filter_map(|look| look.queues.as_ref().ok());
    for queue in queues.flat_map(|it| &it.items) {
        let name = format!("{}.{}", queue.service, queue.name);
        match all.get_mut(&name) {
            None => {
                all.insert(name, queue.clone());
            }
            Some(known) => {
                known.waiting = known.waiting.max(queue.waiting);
                known.consumers = known.consumers.max(queue.consumers);
                known.limited |= queue.limited;
                known.oldest_seconds = known.oldest_seconds.max(queue.oldest_seconds);
                // A process that does not run the subscription does not know its pause.
                known.paused = match (known.here, queue.here) {
                    (true, true) => known.paused && queue.paused,
                    _ => known.paused || queue.paused,
                };
                known.here |= queue.here;
            }
        }
    }
    all
}

/// Returns the paused subscriptions, and the messages that wait for them.
fn paused(now: &[Look]) -> BTreeMap<String, u64> {
    let lists = now
        .iter()
        .filter_map(|look| look.subscriptions.as_ref().ok());
    let (mut paused, mut running) = (BTreeMap::new(), Vec::new());
    for one in lists.flat_map(|it| &it.items) {
        let name = format!("{}.{}", one.service, one.name);
        if one.state == "paused" {
            let waiting: &mut u64 = paused.entry(name).or_default();
            *waiting = one.waiting.max(*waiting);
        } else {
            running.push(name);
        }
    }
    paused.retain(|name, _| !running.contains(name));
    paused
}

fn without_consumer(name: &str, queue: &Queue) -> Option<Finding> {
    if queue.consumers != Some(0) {
        return None;
    }
    let waiting = queue.waiting.unwrap_or_default();
    let what = format!("it has no consumer; {waiting} messages wait");
    Some(Finding::new(&QUEUE_WITHOUT_CONSUMER, name, what))
}

fn limited(name: &str, queue: &Queue) -> Option<Finding> {
    let waiting = queue.waiting.unwrap_or_default();
    let what = format!("work waits for the rate of the subscription; {waiting} more messages wait");
    queue
        .limited
        .then(|| Finding::new(&RATE_LIMITED, name, what))
}

fn grown(before: &Queue, now: &Queue) -> Option<String> {
    let (before, waiting) = (before.waiting?, now.waiting?);
    if waiting <= before || waiting < GROWTH_MIN {
        return None;
    }
    let age = now.oldest_seconds;
    Some(format!(
        "{waiting} messages wait, {} more than at the first look; the oldest is {age} s old",
        waiting - before
    ))
}

fn deviations(now: &[Look]) -> Vec<Finding> {
    let lists = now.iter().filter_map(|look| look.topology.as_ref().ok());
    lists.flat_map(|it| &it.items).map(deviation).collect()
}

fn deviation(of: &Deviation) -> Finding {
    let (waiting, consumers) = (of.waiting, of.consumers);
    let figures = format!("{waiting} messages, {consumers} consumers");
    let (queue, detail) = (&of.queue, of.detail.as_deref().unwrap_or_default());
    match of.kind.as_str() {
        "orphaned" => {
            let what = format!("no subscription has it; {figures}");
            Finding::new(&QUEUE_ORPHANED, queue, what)
        }
        "missing" => Finding::new(&TOPOLOGY_WRONG, queue, "it does not exist"),
        "migrating" => {
            let what = format!("a migration was interrupted; {figures}");
            Finding::new(&TOPOLOGY_WRONG, queue, what).with(Severity::Warning)
        }
        _ => Finding::new(&TOPOLOGY_WRONG, queue, format!("{detail}; {figures}")),
    }
}

fn unroutable(now: &[Look]) -> Vec<Finding> {
    let lists = now.iter().filter_map(|look| look.unroutable.as_ref().ok());
    let mut all = BTreeMap::<&str, u64>::new();
    for one in lists.flat_map(|it| &it.items) {
        let waiting = all.entry(&one.kind).or_default();
        *waiting = one.waiting.max(*waiting);
    }
    let finding = |(kind, waiting): (&str, u64)| {
        let what = format!("{waiting} messages of this type wait in the outbox");
        Finding::new(&UNROUTABLE, kind, what)
    };
    all.into_iter().map(finding).collect()
}
