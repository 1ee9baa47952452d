//! The checkout saga: promo, stock, authorization, commit, capture (the pivot), shipment; and the
//! compensations.
//!
//! Each command carries `<order>/<step>` as its operation id, so that a resend is the same
//! operation. A compensation is sent to each service that may have received a command. A service
//! that has not handled the command yet leaves a tombstone and refuses the late command.
//!
//! - This module: the steps forward. `undo`: the compensations. `cancel`: the customer's cancel.
//!   `input`: the inputs.

mod cancel;
mod input;
mod undo;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::inventory::{
    CommitFlashClaim, CommitStock, ExtendReservation, ReserveStock, UseFlashClaim,
};
use shop_contracts::orders::{OrderCompleted, OrderPaid, OrderPaymentDelayed, OrderShipped};
use shop_contracts::payments::{AuthorizePayment, CapturePayment};
use shop_contracts::promotions::{RedeemPromo, ReservePromo};
use shop_contracts::shipping::{CancelShipment, CreateShipment};
use shop_contracts::{ClaimId, Lines, Money, OrderId, OrderStatus, RejectReason, UserId};
use wingbeat::{JsonSchema, Promise, Saga, SagaEffects, Timestamp, Unexpected, schemars};

use crate::config::Deadlines;
use crate::domain::{Change, Order, OrderCommand};
use crate::feed::{Feed, FeedRow};
use crate::messages::{PaymentExpired, PaymentSlow, ResendDue, StartCheckout};

pub use input::CheckoutInput;
pub use undo::Undoing;

/// Accepted orders are paid within five seconds.
pub const PAID: Promise = Promise::new("orders_paid", Duration::from_secs(5));

/// The step that the saga waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The reservation of the promo.
    #[default]
    Promo,
    /// The reservation of the stock.
    Stock,
    /// The authorization of the payment.
    Authorize,
    /// The commit of the reserved stock.
    Commit,
    /// The capture of the payment: the pivot.
    Capture,
    /// The dispatch of the shipment.
    Ship,
    /// The delivery of the shipment.
    Deliver,
    /// The cancellation of the shipment, after the pivot.
    Unship,
    /// The compensations.
    Undo,
}

/// The checkout of one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Checkout {
    order_id: OrderId,
    user_id: UserId,
    lines: Lines,
    total: Money,
    promo_code: Option<String>,
    /// The claim on a flash sale that has the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flash_claim: Option<ClaimId>,
    /// The time of the acceptance, while the promise that the order is paid has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promised_at: Option<Timestamp>,
    token: String,
    #[serde(default)]
    deadlines: Deadlines,
    /// The step that the saga waits for.
    pub step: Step,
    delayed: bool,
    /// `true` if a cancel came during the capture. It is handled after the capture's reply.
    cancel_wanted: bool,
    undoing: Undoing,
    /// The reason of the rejection; `None` for a cancel.
    rejected: Option<RejectReason>,
}

type Effects = SagaEffects<CheckoutInput>;

impl Saga for Checkout {
    const NAME: &'static str = "checkout";
    type Input = CheckoutInput;
    const STATES: &'static [&'static str] = &[
        "promo",
        "stock",
        "authorize",
        "commit",
        "capture",
        "ship",
        "deliver",
        "unship",
        "undo",
    ];

    fn state(&self) -> &'static str {
        match self.step {
            Step::Promo => "promo",
            Step::Stock => "stock",
            Step::Authorize => "authorize",
            Step::Commit => "commit",
            Step::Capture => "capture",
            Step::Ship => "ship",
            Step::Deliver => "deliver",
            Step::Unship => "unship",
            Step::Undo => "undo",
        }
    }

    fn step(&mut self, input: CheckoutInput, fx: &mut Effects) {
        use CheckoutInput as In;
        match input {
            In::Start(start) => self.start(start, fx),
            In::Cancel(_) => self.cancel(fx),
            In::PromoReserved(_) => self.go_on(Step::Promo, Step::Stock, None, fx),
            In::PromoRejected(_) => self.refused(Step::Promo, RejectReason::PromoInvalid, fx),
            In::StockReserved(_) => self.stock_reserved(fx),
            In::StockRejected(_) => self.refused(Step::Stock, RejectReason::OutOfStock, fx),
            In::PaymentAuthorized(_) => self.authorized(fx),
            In::PaymentDeclined(_) => {
                self.refused(Step::Authorize, RejectReason::PaymentDeclined, fx)
            }
            In::PaymentDelayed(_) | In::PaymentSlow(_) => self.payment_delayed(fx),
            In::PaymentExpired(_) => {
                self.refused(Step::Authorize, RejectReason::PaymentTimeout, fx)
            }
            In::StockCommitted(_) => self.go_on(Step::Commit, Step::Capture, None, fx),
            In::StockCommitRefused(_) => {
                self.refused(Step::Commit, RejectReason::ReservationExpired, fx)
            }
            In::PaymentCaptured(_) => self.captured(fx),
            In::PaymentCaptureRefused(_) => {
                self.refused(Step::Capture, RejectReason::PaymentDeclined, fx)
            }
            In::ShipmentDispatched(_) => self.dispatched(fx),
            In::ShipmentDelivered(_) => self.delivered(fx),
            In::ShipmentCancelled(_) => self.unshipped(fx),
            In::ShipmentCancelRefused(_) => self.cancel_refused(fx),
            In::PromoReleased(_) => self.undone(|undoing| &mut undoing.promo, fx),
            In::StockReleased(_) => self.undone(|undoing| &mut undoing.stock, fx),
            In::PaymentVoided(_) => self.undone(|undoing| &mut undoing.void, fx),
            In::PaymentRefunded(_) => self.undone(|undoing| &mut undoing.refund, fx),
            In::ResendDue(_) => self.ask(fx),
        }
        if !matches!(self.step, Step::Promo | Step::Stock | Step::Authorize) {
            self.token.clear(); // No later step needs it.
        }
    }

    /// A late reply to an ended checkout needs no action: the compensation was sent before the end,
    /// and its receiver keeps a tombstone.
    fn unexpected(&mut self, reason: Unexpected, input: CheckoutInput, fx: &mut Effects) {
        if let CheckoutInput::Cancel(_) = input {
            self.cancel_unexpected(reason, fx);
        }
    }
}

impl Checkout {
    fn start(&mut self, start: StartCheckout, fx: &mut Effects) {
        if self.order_id != OrderId::default() {
            return; // A repeated start.
        }
        let StartCheckout {
            order_id,
            user_id,
            lines,
            total,
            promo_code,
            promo_unusable,
            flash_claim_id,
            accepted_at,
            token,
            deadlines,
        } = start;
        let step = match promo_code {
            Some(_) => Step::Promo,
            None => Step::Stock,
        };
        *self = Self {
            order_id,
            user_id,
            lines,
            total,
            promo_code,
            flash_claim: flash_claim_id,
            promised_at: accepted_at,
            token,
            deadlines,
            step,
            ..Self::default()
        };
        if promo_unusable {
            self.refused(Step::Promo, RejectReason::PromoInvalid, fx);
        } else if flash_claim_id.is_some() {
            self.stock_reserved(fx); // The claim has the unit.
        } else {
            self.ask(fx);
        }
    }

    /// Sends the command of the current step, possibly again, and sets the deadline for its reply.
    fn ask(&self, fx: &mut Effects) {
        let order_id = self.order_id;
        let operation = |what: &str| format!("{order_id}/{what}");
        match self.step {
            Step::Promo => {
                let code = self.promo_code.clone().unwrap_or_default();
                fx.send_as(
                    operation("promo"),
                    &ReservePromo {
                        order_id,
                        user_id: self.user_id,
                        code,
                    },
                );
            }
            Step::Stock => {
                fx.send_as(
                    operation("stock"),
                    &ReserveStock {
                        order_id,
                        lines: self.lines.clone(),
                    },
                );
            }
            Step::Authorize => {
                if let Some(claim_id) = self.flash_claim {
                    let used = UseFlashClaim { order_id, claim_id };
                    fx.send_as(operation("claim"), &used);
                }
                let (amount, token) = (self.total, self.token.clone());
                fx.send_as(
                    operation("authorize"),
                    &AuthorizePayment {
                        order_id,
                        amount,
                        token,
                    },
                );
            }
            Step::Commit => match self.flash_claim {
                Some(claim_id) => {
                    let commit = CommitFlashClaim { order_id, claim_id };
                    fx.send_as(operation("commit"), &commit);
                }
                None => {
                    fx.send_as(operation("commit"), &CommitStock { order_id });
                }
            },
            Step::Capture => {
                fx.send_as(operation("capture"), &CapturePayment { order_id });
            }
            Step::Ship | Step::Deliver => {
                fx.send_as(operation("ship"), &CreateShipment { order_id });
            }
            Step::Unship => {
                fx.send_as(operation("unship"), &CancelShipment { order_id });
            }
            Step::Undo => self.ask_to_undo(fx),
        }
        fx.after(self.deadlines.resend_after, &ResendDue { order_id });
    }

    /// Moves from the step `from` to `to`. A reply to a step that is over changes nothing.
    fn go_on(&mut self, from: Step, to: Step, status: Option<OrderStatus>, fx: &mut Effects) {
        if self.step != from {
            return;
        }
        self.step = to;
        if let Some(status) = status {
            self.change(status, None, fx);
        }
        self.ask(fx);
    }

    fn stock_reserved(&mut self, fx: &mut Effects) {
        if self.step == Step::Stock {
            let order_id = self.order_id;
            let longest = match self.flash_claim {
                Some(_) => self.deadlines.flash_payment_timeout,
                None => self.deadlines.payment_timeout,
            };
            fx.after(self.deadlines.delayed_after, &PaymentSlow { order_id })
                .after(longest, &PaymentExpired { order_id });
        }
        let reserved = Some(OrderStatus::StockReserved);
        self.go_on(Step::Stock, Step::Authorize, reserved, fx);
    }

    fn authorized(&mut self, fx: &mut Effects) {
        if self.step == Step::Authorize {
            fx.cancel::<PaymentSlow>().cancel::<PaymentExpired>();
            self.delayed = false;
        }
        self.go_on(
            Step::Authorize,
            Step::Commit,
            Some(OrderStatus::PaymentAuthorized),
            fx,
        );
    }

    fn payment_delayed(&mut self, fx: &mut Effects) {
        if self.step != Step::Authorize || self.delayed {
            return;
        }
        self.delayed = true;
        self.change(OrderStatus::StockReserved, None, fx);
        let order_id = self.order_id;
        // A claim that an order uses does not expire.
        if self.flash_claim.is_none() {
            fx.send_as(
                format!("{order_id}/extend"),
                &ExtendReservation { order_id },
            );
        }
        fx.publish(&OrderPaymentDelayed {
            order_id: self.order_id,
            user_id: self.user_id,
        });
    }

    fn captured(&mut self, fx: &mut Effects) {
        if self.step != Step::Capture {
            return;
        }
        if let Some(since) = self.promised_at.take() {
            fx.keep(PAID, since);
        }
        fx.publish(&OrderPaid {
            order_id: self.order_id,
            user_id: self.user_id,
            total: self.total,
        });
        self.change(OrderStatus::Paid, None, fx);
        if self.cancel_wanted {
            self.undo(None, fx);
        } else {
            self.step = Step::Ship;
            self.ask(fx);
        }
    }

    fn dispatched(&mut self, fx: &mut Effects) {
        if !matches!(self.step, Step::Ship | Step::Unship) {
            return;
        }
        if self.step == Step::Unship {
            self.refuse_cancel(fx); // Shipping's refusal may arrive after the end of the saga.
        }
        self.step = Step::Deliver;
        fx.cancel::<ResendDue>();
        self.change(OrderStatus::Shipped, None, fx);
        fx.publish(&OrderShipped {
            order_id: self.order_id,
            user_id: self.user_id,
        });
        if let Some(code) = self.promo_code.clone() {
            fx.send_as(
                format!("{}/redeem", self.order_id),
                &RedeemPromo {
                    order_id: self.order_id,
                    code,
                },
            );
        }
        fx.after(
            self.deadlines.resend_after * 6,
            &ResendDue {
                order_id: self.order_id,
            },
        );
    }

    fn delivered(&mut self, fx: &mut Effects) {
        if matches!(self.step, Step::Ship | Step::Unship) {
            self.dispatched(fx); // The delivery overtook the dispatch.
        }
        if self.step != Step::Deliver {
            return;
        }
        self.change(OrderStatus::Completed, None, fx);
        fx.publish(&OrderCompleted {
            order_id: self.order_id,
            user_id: self.user_id,
        })
        .end();
    }

    /// Changes the order, and adds the change to its owner's feed in the same unit.
    fn change(&self, status: OrderStatus, reason: Option<RejectReason>, fx: &mut Effects) {
        let (order_id, payment_delayed, at) = (self.order_id, self.delayed, fx.now());
        fx.execute::<Order>(
            order_id,
            OrderCommand::Change(Change {
                status,
                reason,
                payment_delayed,
                at,
            }),
        );
        let row = FeedRow {
            version: 0,
            order_id,
            status,
            reason,
            payment_delayed,
            updated_at: at,
        };
        fx.update::<Feed>(self.user_id, move |feed| Feed::with(feed, row));
    }
}
