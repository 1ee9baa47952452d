//! What `#[crate::test]` runs.

use crate::test::Simulation;

/// Runs a test in the worlds of so many seeds; in one alone if `WINGBEAT_SEED` names it, to repeat
/// a failure.
///
/// # Panics
///
/// When the test does, or `WINGBEAT_SEED` is no number.
#[allow(
    clippy::disallowed_methods,
    reason = "a seed to repeat comes from whoever runs the test"
)]
pub fn each_seed(seeds: u64, test: impl Fn(Simulation)) {
    let only = std::env::var("WINGBEAT_SEED").ok();
    let only: Option<u64> = only.map(|seed| seed.parse().expect("WINGBEAT_SEED is a number"));
    let chosen = only.map_or(1..=seeds, |seed| seed..=seed);
    for seed in chosen {
        let simulation = Simulation::new(seed);
        test(simulation.clone());
        simulation.end();
    }
}
