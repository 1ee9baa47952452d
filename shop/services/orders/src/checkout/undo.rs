//! The compensations, and the end of the saga once all are confirmed.

use serde::{Deserialize, Serialize};
use shop_contracts::inventory::{ReleaseStock, ReturnFlashClaim};
use shop_contracts::orders::{OrderCancelled, OrderRejected};
use shop_contracts::payments::{RefundPayment, VoidPayment};
use shop_contracts::promotions::ReleasePromo;
use shop_contracts::{OrderStatus, RejectReason};
use wingbeat::{JsonSchema, schemars};

use super::{Checkout, Effects, PAID, Step};
use crate::messages::{PaymentExpired, PaymentSlow};

/// The compensations that are not confirmed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undoing {
    pub(super) promo: bool,
    pub(super) stock: bool,
    /// Void the authorization.
    pub(super) void: bool,
    /// Refund the capture.
    pub(super) refund: bool,
}

impl Checkout {
    pub(super) fn ask_to_undo(&self, fx: &mut Effects) {
        let order_id = self.order_id;
        if let (true, Some(code)) = (self.undoing.promo, self.promo_code.clone()) {
            fx.send_as(
                format!("{order_id}/unpromo"),
                &ReleasePromo { order_id, code },
            );
        }
        if self.undoing.stock {
            let operation = format!("{order_id}/unstock");
            match self.flash_claim {
                Some(claim_id) => {
                    fx.send_as(operation, &ReturnFlashClaim { order_id, claim_id });
                }
                None => {
                    fx.send_as(operation, &ReleaseStock { order_id });
                }
            }
        }
        if self.undoing.void {
            fx.send_as(format!("{order_id}/void"), &VoidPayment { order_id });
        }
        if self.undoing.refund {
            fx.send_as(format!("{order_id}/refund"), &RefundPayment { order_id });
        }
    }

    pub(super) fn refused(&mut self, step: Step, reason: RejectReason, fx: &mut Effects) {
        if self.step == step {
            self.undo(Some(reason), fx);
        }
    }

    /// Starts the compensations of all commands sent so far. Each receiver confirms, even if it has
    /// nothing to undo.
    pub(super) fn undo(&mut self, rejected: Option<RejectReason>, fx: &mut Effects) {
        let from = self.step;
        let captured =
            matches!(from, Step::Unship) || (from == Step::Capture && rejected.is_none());
        self.undoing = Undoing {
            promo: self.promo_code.is_some(),
            stock: !matches!(from, Step::Promo) && rejected != Some(RejectReason::OutOfStock),
            void: !captured && !matches!(from, Step::Promo | Step::Stock),
            refund: captured,
        };
        if rejected == Some(RejectReason::PromoInvalid) {
            self.undoing.promo = false;
        }
        self.end_promise(rejected, fx);
        self.rejected = rejected;
        self.step = Step::Undo;
        self.delayed = false;
        fx.cancel::<PaymentSlow>().cancel::<PaymentExpired>();
        if rejected.is_none() {
            self.change(OrderStatus::Cancelling, None, fx);
        }
        self.ask(fx);
        self.end_if_undone(fx);
    }

    /// Ends the promise that the order is paid. An order that waited too long has broken it; the
    /// customer and the bank release it.
    fn end_promise(&mut self, rejected: Option<RejectReason>, fx: &mut Effects) {
        if self.promised_at.take().is_none() {
            return; // It is paid, or an older release has accepted it.
        }
        match rejected {
            Some(RejectReason::PaymentTimeout | RejectReason::ReservationExpired) => {
                fx.fail(PAID);
            }
            _ => {
                fx.release(PAID);
            }
        }
    }

    pub(super) fn undone(&mut self, part: impl Fn(&mut Undoing) -> &mut bool, fx: &mut Effects) {
        if self.step == Step::Undo {
            *part(&mut self.undoing) = false;
            self.end_if_undone(fx);
        }
    }

    fn end_if_undone(&mut self, fx: &mut Effects) {
        if self.undoing != Undoing::default() {
            return;
        }
        let (order_id, user_id) = (self.order_id, self.user_id);
        match self.rejected {
            Some(reason) => {
                self.change(OrderStatus::Rejected, Some(reason), fx);
                fx.publish(&OrderRejected {
                    order_id,
                    user_id,
                    reason,
                });
            }
            None => {
                self.change(OrderStatus::Cancelled, None, fx);
                fx.publish(&OrderCancelled { order_id, user_id });
            }
        }
        fx.end();
    }
}
