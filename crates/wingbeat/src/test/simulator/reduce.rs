//! Reduces a schedule of faults to those that a failure needs.

use super::{Lifetime, Schedule, System, Violation};

/// The number of lifetimes spent on one failure.
const TRIALS: usize = 30;

/// Returns the smallest schedule found that still breaks the invariant, and its story.
pub(super) fn reduce<S: System>(
    seed: u64,
    violation: &Violation,
    schedule: Schedule,
) -> (Schedule, Vec<String>) {
    let mut trials = 0;
    let mut breaks = |episodes: &[_]| {
        trials += 1;
        let schedule = Schedule {
            episodes: episodes.to_vec(),
        };
        let lifetime = (trials <= TRIALS).then(|| Lifetime::run::<S>(seed, Some(schedule)));
        let same = |other: &Violation| other.invariant == violation.invariant;
        lifetime.filter(|it| it.violation.as_ref().is_some_and(same))
    };
    let mut left = schedule.episodes;
    let mut story = Vec::new();
    let mut size = left.len();
    // Removes halves first, then smaller parts, down to single faults.
    while size >= 1 {
        let mut at = 0;
        while at < left.len() {
            let end = (at + size).min(left.len());
            let fewer = [&left[..at], &left[end..]].concat();
            match breaks(&fewer) {
                Some(lifetime) => (left, story) = (fewer, lifetime.story),
                None => at = end,
            }
        }
        size /= 2;
    }
    if story.is_empty() {
        let schedule = Schedule {
            episodes: left.clone(),
        };
        story = Lifetime::run::<S>(seed, Some(schedule)).story;
    }
    (Schedule { episodes: left }, story)
}
