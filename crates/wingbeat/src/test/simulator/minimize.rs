//! Minimization: removes faults that a failure does not need.

use super::{Lifetime, Schedule, System, Violation};

/// The limit of lifetimes for the minimization of one failure.
const TRIALS: usize = 30;

/// Returns the smallest schedule found that still violates the invariant, and its timeline.
pub(super) fn minimize<S: System>(
    seed: u64,
    violation: &Violation,
    schedule: Schedule,
) -> (Schedule, Vec<String>) {
    let mut trials = 0;
    let mut violates = |episodes: &[_]| {
        trials += 1;
        let schedule = Schedule {
            episodes: episodes.to_vec(),
        };
        let lifetime = (trials <= TRIALS).then(|| Lifetime::run::<S>(seed, Some(schedule)));
        let same = |other: &Violation| other.invariant == violation.invariant;
        lifetime.filter(|it| it.violation.as_ref().is_some_and(same))
    };
    let mut left = schedule.episodes;
    let mut timeline = Vec::new();
    let mut size = left.len();
    // Removes halves first, then smaller parts, down to single faults.
    while size >= 1 {
        let mut at = 0;
        while at < left.len() {
            let end = (at + size).min(left.len());
            let fewer = [&left[..at], &left[end..]].concat();
            match violates(&fewer) {
                Some(lifetime) => (left, timeline) = (fewer, lifetime.timeline),
                None => at = end,
            }
        }
        size /= 2;
    }
    if timeline.is_empty() {
        let schedule = Schedule {
            episodes: left.clone(),
        };
        timeline = Lifetime::run::<S>(seed, Some(schedule)).timeline;
    }
    (Schedule { episodes: left }, timeline)
}
