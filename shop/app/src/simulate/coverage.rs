//! What a thousand lives must have seen: every fault, every message, every input of the checkout in every
//! state. What cannot be is said here, with the reason.

use shop_orders::checkout::Checkout;
use wingbeat_test::simulator::{Coverage, Unreachable};

/// What the checkout cannot get.
const UNREACHABLE: &[Unreachable] = &[];

/// What was not seen.
pub(super) fn unseen(coverage: &Coverage) -> Vec<String> {
    let mut unseen: Vec<String> = coverage
        .silent()
        .into_iter()
        .map(|fault| format!("the fault {fault}"))
        .collect();
    unseen.extend(coverage.gaps::<Checkout>(UNREACHABLE));
    unseen
}
