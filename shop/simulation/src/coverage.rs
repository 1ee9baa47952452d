//! The coverage that a thousand lifetimes must reach: every fault, and every input of the checkout
//! in every state. Impossible combinations are listed with their reasons.

use wingbeat::test::Simulator;
use wingbeat::test::simulator::Unreachable;

const fn never(
    states: &'static [&'static str],
    inputs: &'static [&'static str],
    why: &'static str,
) -> Unreachable {
    Unreachable {
        saga: "checkout",
        states,
        inputs,
        why,
    }
}

/// The inputs that the checkout cannot handle in a state. (A stale attempt may; it runs again.)
const UNREACHABLE: &[Unreachable] = &[
    never(
        &[],
        &["payments.payment_delayed.v1"],
        "payments cannot report its own outage: the checkout's own timer sets the flag",
    ),
    never(
        &[],
        &["payments.payment_capture_refused.v1"],
        "the provider never refuses to capture an authorized amount",
    ),
    never(
        &["not_started"],
        &[
            "promotions.promo_reserved.v1",
            "promotions.promo_rejected.v1",
            "promotions.promo_released.v1",
            "inventory.stock_reserved.v1",
            "inventory.stock_rejected.v1",
            "inventory.stock_committed.v1",
            "inventory.stock_commit_refused.v1",
            "inventory.stock_released.v1",
            "payments.payment_authorized.v1",
            "payments.payment_declined.v1",
            "payments.payment_captured.v1",
            "payments.payment_voided.v1",
            "payments.payment_refunded.v1",
            "shipping.shipment_dispatched.v1",
            "shipping.shipment_delivered.v1",
            "shipping.shipment_cancelled.v1",
            "shipping.shipment_cancel_refused.v1",
        ],
        "the checkout sends no command before its start",
    ),
    never(
        &["promo", "stock"],
        &[
            "inventory.stock_committed.v1",
            "inventory.stock_commit_refused.v1",
            "payments.payment_authorized.v1",
            "payments.payment_declined.v1",
            "payments.payment_captured.v1",
            "payments.payment_voided.v1",
            "payments.payment_refunded.v1",
            "orders.payment_slow.v1",
            "orders.payment_expired.v1",
        ],
        "the authorization is requested once the stock is reserved",
    ),
    never(
        &["promo", "stock", "authorize", "commit", "capture"],
        &[
            "shipping.shipment_dispatched.v1",
            "shipping.shipment_delivered.v1",
            "shipping.shipment_cancelled.v1",
            "shipping.shipment_cancel_refused.v1",
        ],
        "the shipment is requested once the payment is captured",
    ),
    never(
        &[
            "stock",
            "authorize",
            "commit",
            "capture",
            "ship",
            "unship",
            "deliver",
        ],
        &["promotions.promo_rejected.v1"],
        "the promo is reserved for the order already",
    ),
    never(
        &["commit", "capture", "ship", "unship", "deliver"],
        &[
            "inventory.stock_rejected.v1",
            "payments.payment_declined.v1",
            "orders.payment_expired.v1",
        ],
        "stock and payment were reserved, and the timer is cancelled with its step",
    ),
    never(
        &["commit", "capture", "ship", "unship", "deliver", "undo"],
        &["orders.payment_slow.v1", "orders.payment_expired.v1"],
        "the timer is cancelled with its step",
    ),
    never(
        &["authorize", "capture", "ship", "unship", "deliver"],
        &["inventory.stock_commit_refused.v1"],
        "inventory refuses only in the step that asks it to take the stock",
    ),
    never(
        &["commit", "capture", "ship", "unship", "deliver"],
        &["payments.payment_voided.v1"],
        "nothing is undone",
    ),
    never(
        &["deliver"],
        &[
            "promotions.promo_released.v1",
            "inventory.stock_released.v1",
            "payments.payment_refunded.v1",
            "shipping.shipment_cancelled.v1",
        ],
        "the dispatch came first: no compensation was requested",
    ),
    never(
        &["unship"],
        &[
            "promotions.promo_reserved.v1",
            "inventory.stock_reserved.v1",
            "inventory.stock_committed.v1",
            "inventory.stock_released.v1",
            "promotions.promo_released.v1",
            "payments.payment_authorized.v1",
            "payments.payment_captured.v1",
            "payments.payment_refunded.v1",
        ],
        "a duplicate would have to be seconds late, and no compensation was requested yet",
    ),
    never(
        &["undo"],
        &[
            "shipping.shipment_dispatched.v1",
            "shipping.shipment_delivered.v1",
            "shipping.shipment_cancel_refused.v1",
        ],
        "the shipment was cancelled, or never requested",
    ),
];

/// Handlers and outcomes that the simulated clients and the bank never cause.
const ACCEPTED: [&str; 5] = [
    // No service sends the command.
    "handler inventory.restock_order",
    // The bank rejects no request that is well-formed, and answers in the end.
    "call payments.provider gave_up",
    // Simulated mails go to the mailbox, not to a mail server.
    "call notifications.send_mail answered",
    "call notifications.send_mail retried",
    "call notifications.send_mail gave_up",
];

/// Returns the simulator with the gaps that the shop accepts.
pub(super) fn accept_gaps(simulator: Simulator) -> Simulator {
    let simulator = simulator.accept_unreachable(UNREACHABLE.iter().cloned());
    ACCEPTED.into_iter().fold(simulator, Simulator::accept_gap)
}
