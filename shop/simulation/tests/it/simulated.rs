//! The simulation of the shop: it is reproducible, and the seeds that once found faults pass.

use shop_simulation::Shop;
use wingbeat::test::Simulator;
use wingbeat::test::simulator::Lifetime;

/// Seeds that found faults: deliveries that were dead-lettered while the store was unavailable, a
/// busy loop, a clock that polled.
const FOUND: [u64; 4] = [1, 15, 861, 1085];

#[test]
fn seeds_that_found_faults_pass() {
    for seed in FOUND {
        let lifetime = Lifetime::run::<Shop>(seed, None);
        assert_eq!(lifetime.violation, None, "{:#?}", lifetime.timeline);
    }
}

#[test]
fn equal_seeds_produce_equal_runs() {
    let digest = || Simulator::new().run::<Shop>(3..5).digest;
    assert_eq!(digest(), digest());
    let other = Simulator::new().run::<Shop>(4..6).digest;
    assert_ne!(digest(), other);
}
