//! Runs tests that are marked `#[wingbeat::test]`.

use crate::test::Simulation;

/// Runs a test with the seeds from 1 to `seeds`, or only with the seed in `WINGBEAT_SEED`.
///
/// # Panics
///
/// If the test panics, or `WINGBEAT_SEED` is not a number.
#[allow(
    clippy::disallowed_methods,
    reason = "a variable of the environment selects the seed to repeat"
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
