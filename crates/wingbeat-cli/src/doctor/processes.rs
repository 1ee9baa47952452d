//! Faults of processes: whether they answer, their servers, clocks and resources.

use super::answers::{Resource, Server};
use super::faults::{
    ACCESS_REFUSED, BROKER_DOWN, CACHE_DOWN, CLOCK_OFF, DISK_NEARLY_FULL, Fault, NOT_READY,
    OVERLOADED, PART_MISSING, PROCESS_UNREACHABLE, REPLICA_MISSING, STORE_DOWN, Severity,
};
use super::look::Look;
use super::{Finding, Wanted};
use crate::client::Unanswered;

/// The difference between two clocks that is no fault, in microseconds: 2 s.
const CLOCK_TOLERANCE: i64 = 2_000_000;

/// Returns what is wrong with processes.
pub(super) fn found(now: &[Look], wanted: &Wanted) -> Vec<Finding> {
    let nobody = !now.iter().any(Look::answers);
    let mut findings: Vec<Finding> = now
        .iter()
        .flat_map(|look| of_process(look, nobody))
        .collect();
    findings.extend(wanted.replicas.iter().filter_map(|it| replicas(now, it)));
    findings
}

fn of_process(look: &Look, nobody: bool) -> Vec<Finding> {
    match &look.process {
        Err(Unanswered::Refused(why)) => {
            return vec![Finding::new(&ACCESS_REFUSED, &look.url, why)];
        }
        Err(Unanswered::Silent(why)) if nobody => {
            return vec![Finding::new(&PROCESS_UNREACHABLE, &look.url, why)];
        }
        Err(Unanswered::Silent(why)) => {
            return vec![Finding::new(&REPLICA_MISSING, &look.url, why)];
        }
        _ => {}
    }
    let mut findings = servers(look);
    findings.extend(not_ready(look));
    findings.extend(clock(look));
    findings.extend(resources(look));
    findings.extend(missing_parts(look));
    findings
}

fn servers(look: &Look) -> Vec<Finding> {
    let servers = look.process.as_ref().map(|it| it.servers.as_slice());
    let failed = servers
        .unwrap_or_default()
        .iter()
        .filter(|it| !it.available);
    let finding = |server: &Server| {
        let fault: &'static Fault = match server.part.as_str() {
            "store" => &STORE_DOWN,
            "broker" => &BROKER_DOWN,
            "cache" => &CACHE_DOWN,
            _ => return None,
        };
        let code = server.code.as_deref().unwrap_or("no code");
        let detail = server.detail.as_deref().unwrap_or("it cannot be used");
        Some(Finding::new(fault, &look.url, format!("{detail} ({code})")))
    };
    failed.filter_map(finding).collect()
}

/// A process that is not ready because of a server has the finding of the server.
fn not_ready(look: &Look) -> Option<Finding> {
    let why = look.ready.as_ref().err()?;
    let is_explained = !look.has("store") || !look.has("broker");
    (!is_explained).then(|| Finding::new(&NOT_READY, &look.url, why.to_string()))
}

/// Compares the clocks. The time of the process is between the two times before and after the
/// question, so only what lies outside of them counts.
fn clock(look: &Look) -> Option<Finding> {
    let told = look.process.as_ref().ok()?.now?.as_micros();
    let (before, after) = look.asked;
    let ahead = told - after.as_micros();
    let behind = before.as_micros() - told;
    let off = ahead.max(behind);
    if off < CLOCK_TOLERANCE {
        return None;
    }
    let which = if ahead > behind { "ahead of" } else { "behind" };
    let seconds = off / 1_000_000;
    let what = format!("its clock is {seconds} s {which} the clock of this machine");
    Some(Finding::new(&CLOCK_OFF, &look.url, what))
}

fn resources(look: &Look) -> Vec<Finding> {
    let resources = look.overload.as_ref().map(|it| it.items.as_slice());
    let resources = resources.unwrap_or_default().iter();
    resources.filter_map(|it| resource(look, it)).collect()
}

fn resource(look: &Look, of: &Resource) -> Option<Finding> {
    let reading = of.reading?;
    let (name, level) = (&of.resource, of.level);
    if name == "disk" {
        let what = format!(
            "{} MiB are free; below {} MiB requests are refused",
            reading >> 20,
            of.high >> 20
        );
        let finding = Finding::new(&DISK_NEARLY_FULL, &look.url, what);
        return match level {
            0 if reading >= of.low => None,
            0 => Some(finding.with(Severity::Warning)),
            _ => Some(finding),
        };
    }
    let unit = match name.as_str() {
        "memory" => " %",
        "lag" => " s",
        _ => " messages",
    };
    let high = of.high;
    let what = format!("{name} is at {reading}{unit}, above {high}{unit}: level {level} of 3");
    (level > 0).then(|| Finding::new(&OVERLOADED, &look.url, what))
}

fn missing_parts(look: &Look) -> Vec<Finding> {
    // A part fails with its server, which has a finding of its own.
    if !look.has("store") || !look.has("broker") {
        return Vec::new();
    }
    let parts = [
        ("process", look.process.as_ref().err()),
        ("queues", look.queues.as_ref().err()),
        ("backlog", look.backlog.as_ref().err()),
        ("topology", look.topology.as_ref().err()),
        ("subscriptions", look.subscriptions.as_ref().err()),
        ("schedules", look.schedules.as_ref().err()),
        ("rebuilds", look.rebuilds.as_ref().err()),
        ("replays", look.replays.as_ref().err()),
        ("breakers", look.breakers.as_ref().err()),
        ("overload", look.overload.as_ref().err()),
        ("unroutable", look.unroutable.as_ref().err()),
        ("dead-letters", look.letters.as_ref().err()),
    ];
    let missing = parts.into_iter().filter_map(|(name, why)| {
        let what = format!("/ops/{name}: {}", why?);
        Some(Finding::new(&PART_MISSING, &look.url, what))
    });
    missing.collect()
}

fn replicas(now: &[Look], (service, number): &(String, usize)) -> Option<Finding> {
    let runs = |look: &&Look| {
        let services = look.process.as_ref().map(|it| it.services.as_slice());
        let services = services.unwrap_or_default();
        services.contains(service) && look.ready.is_ok()
    };
    let ready = now.iter().filter(runs).count();
    let what = format!("{ready} of {number} processes are ready");
    (ready < *number).then(|| Finding::new(&REPLICA_MISSING, service, what))
}
