//! The contracts of the last release, in `contracts`.

use std::path::Path;

use shop::Shop;
use wingbeat::Program as _;
use wingbeat::contracts::assert_kept;

#[test]
fn the_last_release_gets_along_with_this_one() {
    let (system, _) = Shop::default().contracts().expect("the shop has contracts");
    assert_kept(
        system,
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/released"),
    );
}
