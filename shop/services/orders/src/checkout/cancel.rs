//! The customer's cancel, in each step of the checkout.

use shop_contracts::OrderStatus;
use wingbeat::Unexpected;

use super::{Checkout, Effects, Step};
use crate::messages::{CancelRefused, ResendDue};

impl Checkout {
    pub(super) fn cancel(&mut self, fx: &mut Effects) {
        match self.step {
            Step::Promo | Step::Stock | Step::Authorize | Step::Commit => self.undo(None, fx),
            Step::Capture => self.cancel_wanted = true,
            Step::Ship => {
                self.step = Step::Unship;
                self.change(OrderStatus::Cancelling, None, fx);
                self.ask(fx);
            }
            Step::Deliver => self.refuse_cancel(fx),
            Step::Unship | Step::Undo => {}
        }
    }

    pub(super) fn cancel_refused(&mut self, fx: &mut Effects) {
        if self.step == Step::Unship {
            self.step = Step::Ship;
            self.refuse_cancel(fx);
            fx.after(
                self.deadlines.resend_after,
                &ResendDue {
                    order_id: self.order_id,
                },
            );
        }
    }

    /// Publishes the refusal, for the timeline.
    pub(super) fn refuse_cancel(&self, fx: &mut Effects) {
        let order_id = self.order_id;
        fx.publish(&CancelRefused { order_id });
    }

    pub(super) fn unshipped(&mut self, fx: &mut Effects) {
        if self.step == Step::Unship {
            self.undo(None, fx);
        }
    }

    /// Handles a cancel before the start or after the end of the saga. A cancel implies that the
    /// order exists, so its start will arrive.
    pub(super) fn cancel_unexpected(&self, reason: Unexpected, fx: &mut Effects) {
        match reason {
            Unexpected::NotStarted => {
                fx.defer();
            }
            Unexpected::Ended if self.step == Step::Deliver => self.refuse_cancel(fx),
            Unexpected::Ended => {}
        }
    }
}
