//! The progress of an order in steps. `assets/steps.js` contains the same rules for the browser.

use super::model::Order;

/// A step, rendered as `<li data-step data-state>`. Tests rely on both attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The status of the order after this step.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// `done`, `current`, `waiting` (for the bank), `todo` or `failed`.
    pub(super) state: &'static str,
}

impl Step {
    /// Returns the state in words, for screen readers.
    pub(super) fn words(&self) -> &'static str {
        match self.state {
            "done" => "done",
            "current" => "in progress",
            "waiting" => "waiting for the bank",
            "failed" => "failed",
            _ => "not yet",
        }
    }
}

const STEPS: [(&str, &str); 6] = [
    ("placed", "Placed"),
    ("stock_reserved", "Stock reserved"),
    ("payment_authorized", "Payment authorized"),
    ("paid", "Paid"),
    ("shipped", "Shipped"),
    ("completed", "Delivered"),
];

/// Returns the steps of an order with the state of each.
pub(super) fn of(order: &Order) -> [Step; 6] {
    let reached = reached(&order.status, order.reason.as_deref());
    let next = next_state(order);
    let mut index = 0;
    STEPS.map(|(name, label)| {
        let state = match index {
            done if done <= reached => "done",
            then if then == reached + 1 => next,
            _ => "todo",
        };
        // Only the steps of the payment wait for the bank; another step is in progress.
        let at_bank = matches!(name, "payment_authorized" | "paid");
        let state = if state == "waiting" && !at_bank {
            "current"
        } else {
            state
        };
        index += 1;
        Step { name, label, state }
    })
}

/// Returns the index of the last completed step. A cancelled order has undone its steps.
fn reached(status: &str, reason: Option<&str>) -> usize {
    match (status, reason) {
        ("rejected", Some("payment_declined" | "payment_timeout")) => 1,
        ("rejected", Some("reservation_expired")) => 2,
        _ => STEPS
            .iter()
            .position(|(name, _)| *name == status)
            .unwrap_or(0),
    }
}

/// Returns the state of the step after the last completed one.
fn next_state(order: &Order) -> &'static str {
    match order.status.as_str() {
        "rejected" => "failed",
        "cancelled" | "cancelling" => "todo",
        _ if order.payment_delayed => "waiting",
        _ => "current",
    }
}

/// Returns whether the status is terminal.
pub(super) fn is_over(status: &str) -> bool {
    matches!(status, "completed" | "rejected" | "cancelled")
}

/// Returns whether the page offers a cancel. The API decides whether it is accepted.
pub(super) fn may_cancel(status: &str) -> bool {
    !is_over(status) && !matches!(status, "shipped" | "cancelling")
}

/// Returns a status in one or two words, for lists.
pub(super) fn label(status: &str) -> &str {
    match status {
        "placed" => "Placed",
        "stock_reserved" => "Stock reserved",
        "payment_authorized" => "Authorized",
        "paid" => "Paid",
        "shipped" => "Shipped",
        "completed" => "Delivered",
        "cancelling" => "Cancelling",
        "cancelled" => "Cancelled",
        "rejected" => "Rejected",
        other => other,
    }
}

/// Returns the status of an order as a sentence.
pub(super) fn headline(order: &Order) -> &'static str {
    match order.status.as_str() {
        "rejected" => rejection(order.reason.as_deref()),
        "cancelled" => "Cancelled. Stock, payment and promo code are released.",
        "cancelling" => "Cancelling your order.",
        "completed" => "Delivered. Enjoy!",
        "shipped" => "On its way to you.",
        "paid" => "Paid. We are packing it.",
        _ if order.payment_delayed => "The bank is not answering; your order is safe.",
        "payment_authorized" => "The bank authorized the payment. Collecting it.",
        "stock_reserved" => "Your items are reserved. Waiting for the bank.",
        _ => "We have your order. Reserving your items.",
    }
}

fn rejection(reason: Option<&str>) -> &'static str {
    match reason {
        Some("out_of_stock") => "An item is sold out. You have not been charged.",
        Some("payment_declined") => "The bank declined the payment. You have not been charged.",
        Some("payment_timeout") => "The bank did not answer. You have not been charged.",
        Some("promo_invalid") => "The promo code is not valid. You have not been charged.",
        Some("reservation_expired") => "The reservation expired. You have not been charged.",
        _ => "We could not accept this order. You have not been charged.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(status: &str, reason: Option<&str>, payment_delayed: bool) -> [&'static str; 6] {
        let zero = serde_json::json!({"amount_minor": 0, "currency": "EUR"});
        let order = serde_json::from_value(serde_json::json!({
            "order_id": "x", "status": status, "reason": reason, "placed_at": "", "updated_at": "",
            "payment_delayed": payment_delayed, "subtotal": zero, "discount": zero, "total": zero,
        }));
        of(&order.expect("an order")).map(|step| step.state)
    }

    #[test]
    fn the_step_in_progress_is_current() {
        let [placed, stock, .., completed] = states("placed", None, false);
        assert_eq!((placed, stock, completed), ("done", "current", "todo"));
        assert_eq!(states("completed", None, false), ["done"; 6]);
    }

    #[test]
    fn a_delayed_payment_waits_for_the_bank() {
        let at_bank = states("stock_reserved", None, true);
        assert_eq!(at_bank, ["done", "done", "waiting", "todo", "todo", "todo"]);
        assert_eq!(states("payment_authorized", None, true)[3], "waiting");
        assert_eq!(states("placed", None, true)[1], "current");
    }

    #[test]
    fn a_rejection_fails_the_step_that_was_refused() {
        assert_eq!(states("rejected", Some("out_of_stock"), false)[1], "failed");
        assert_eq!(
            states("rejected", Some("payment_declined"), false)[2],
            "failed"
        );
        assert_eq!(
            states("rejected", Some("reservation_expired"), false)[3],
            "failed"
        );
    }

    #[test]
    fn a_cancelled_order_keeps_only_its_first_step() {
        let cancelled = states("cancelled", None, false);
        assert_eq!(cancelled, ["done", "todo", "todo", "todo", "todo", "todo"]);
    }
}
