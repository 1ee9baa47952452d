//! Runs tests that are marked `#[wingbeat::test]`.

use crate::test::Simulation;

/// Runs a test with the seeds from 1 to `seeds`, or to `WINGBEAT_SEEDS`, or only with the seed in
/// `WINGBEAT_SEED`.
///
/// # Panics
///
/// If the test panics, or one of the variables is not a number.
#[allow(
    clippy::disallowed_methods,
    reason = "variables of the environment select the seeds"
)]
pub fn each_seed(seeds: u64, test: impl Fn(Simulation)) {
    let number = |name: &str| -> Option<u64> {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("the variable is a number"))
    };
    let seeds = number("WINGBEAT_SEEDS").unwrap_or(seeds);
    let chosen = number("WINGBEAT_SEED").map_or(1..=seeds, |seed| seed..=seed);
    for seed in chosen {
        let simulation = Simulation::new(seed);
        test(simulation.clone());
        simulation.end();
    }
}
