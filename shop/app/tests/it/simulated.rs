//! The simulation of the shop itself: it repeats, it sees, and the seeds that once broke it hold.

use shop::simulate::Shop;
use wingbeat::test::Simulator;
use wingbeat::test::simulator::Lifetime;

/// Seeds that found something (see `found.rs` of wingbeat-test): a delivery given up while the
/// store was away; an app that spun; a clock that polled.
const FOUND: [u64; 3] = [1, 15, 1085];

#[test]
fn the_seeds_that_found_something_hold_now() {
    for seed in FOUND {
        let lifetime = Lifetime::run::<Shop>(seed, None);
        assert_eq!(lifetime.violation, None, "{:#?}", lifetime.story);
    }
}

#[test]
fn the_same_seeds_tell_the_same_story() {
    let digest = || Simulator::new().run::<Shop>(3..5).digest;
    assert_eq!(digest(), digest());
    let other = Simulator::new().run::<Shop>(4..6).digest;
    assert_ne!(digest(), other);
}
