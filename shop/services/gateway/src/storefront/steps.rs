//! An order's way as the steps that light up. `assets/steps.js` says the same in the browser.

use super::model::Order;

/// One step, drawn as `<li data-step data-state>`: both are stable, tests rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The status that this step reaches.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// `done`, `current`, `waiting` (for the bank), `todo` or `failed`.
    pub(super) state: &'static str,
}

impl Step {
    /// The state in words, for those who do not see colours.
    pub(super) fn words(&self) -> &'static str {
        match self.state {
            "done" => "done",
            "current" => "under way",
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

/// The steps of `order` with the state of each.
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
        // Only the payment can wait for the bank; any other step is merely under way.
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

/// The index of the last step that stands. What a cancelled order reached has been undone.
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

/// The state of the step after the last one reached.
fn next_state(order: &Order) -> &'static str {
    match order.status.as_str() {
        "rejected" => "failed",
        "cancelled" | "cancelling" => "todo",
        _ if order.payment_delayed => "waiting",
        _ => "current",
    }
}

/// Whether the order will not change any more.
pub(super) fn is_over(status: &str) -> bool {
    matches!(status, "completed" | "rejected" | "cancelled")
}

/// Whether asking to cancel makes sense; the API decides.
pub(super) fn may_cancel(status: &str) -> bool {
    !is_over(status) && !matches!(status, "shipped" | "cancelling")
}

/// A status in one or two words, for lists.
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

/// Where the order stands, in a sentence.
pub(super) fn headline(order: &Order) -> &'static str {
    match order.status.as_str() {
        "rejected" => rejection(order.reason.as_deref()),
        "cancelled" => "Cancelled. Everything has been undone: stock, payment, promo code.",
        "cancelling" => "Cancelling: we are undoing what was done so far.",
        "completed" => "Delivered. Enjoy it!",
        "shipped" => "On its way to you.",
        "paid" => "Paid. We are packing it.",
        _ if order.payment_delayed => "The bank is not answering; your order is safe.",
        "payment_authorized" => "The bank said yes. Taking the payment.",
        "stock_reserved" => "Your items are set aside. Asking the bank.",
        _ => "We have your order. Setting your items aside.",
    }
}

fn rejection(reason: Option<&str>) -> &'static str {
    match reason {
        Some("out_of_stock") => "Sold out: somebody was faster. You have not been charged.",
        Some("payment_declined") => "The bank declined the payment. You have not been charged.",
        Some("payment_timeout") => "The bank never answered. You have not been charged.",
        Some("promo_invalid") => "That promo code does not work. You have not been charged.",
        Some("reservation_expired") => "The items were held too long. You have not been charged.",
        _ => "We could not take this order. You have not been charged.",
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
    fn the_step_under_way_is_current() {
        let [placed, stock, .., completed] = states("placed", None, false);
        assert_eq!((placed, stock, completed), ("done", "current", "todo"));
        assert_eq!(states("completed", None, false), ["done"; 6]);
    }

    #[test]
    fn a_delayed_payment_waits_at_the_bank() {
        let at_bank = states("stock_reserved", None, true);
        assert_eq!(at_bank, ["done", "done", "waiting", "todo", "todo", "todo"]);
        assert_eq!(states("payment_authorized", None, true)[3], "waiting");
        assert_eq!(states("placed", None, true)[1], "current");
    }

    #[test]
    fn a_rejection_fails_the_step_that_refused() {
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
    fn a_cancelled_order_keeps_only_that_it_was_placed() {
        let cancelled = states("cancelled", None, false);
        assert_eq!(cancelled, ["done", "todo", "todo", "todo", "todo", "todo"]);
    }
}
