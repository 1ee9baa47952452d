//! The inputs of the checkout.

use shop_contracts::inventory::{
    StockCommitRefused, StockCommitted, StockRejected, StockReleased, StockReserved,
};
use shop_contracts::payments::{
    PaymentAuthorized, PaymentCaptureRefused, PaymentCaptured, PaymentDeclined, PaymentDelayed,
    PaymentRefunded, PaymentVoided,
};
use shop_contracts::promotions::{PromoRejected, PromoReleased, PromoReserved};
use shop_contracts::shipping::{
    ShipmentCancelRefused, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
};
use wingbeat::SagaInput;

use crate::messages::{CancelCheckout, PaymentExpired, PaymentSlow, ResendDue, StartCheckout};

/// The inputs of the checkout.
#[derive(SagaInput)]
#[allow(missing_docs, reason = "each variant is the message it carries")]
pub enum CheckoutInput {
    #[saga(start)]
    Start(StartCheckout),
    Cancel(CancelCheckout),
    PromoReserved(PromoReserved),
    PromoRejected(PromoRejected),
    PromoReleased(PromoReleased),
    StockReserved(StockReserved),
    StockRejected(StockRejected),
    StockCommitted(StockCommitted),
    StockCommitRefused(StockCommitRefused),
    StockReleased(StockReleased),
    PaymentAuthorized(PaymentAuthorized),
    PaymentDeclined(PaymentDeclined),
    PaymentDelayed(PaymentDelayed),
    PaymentCaptured(PaymentCaptured),
    PaymentCaptureRefused(PaymentCaptureRefused),
    PaymentVoided(PaymentVoided),
    PaymentRefunded(PaymentRefunded),
    ShipmentDispatched(ShipmentDispatched),
    ShipmentDelivered(ShipmentDelivered),
    ShipmentCancelled(ShipmentCancelled),
    ShipmentCancelRefused(ShipmentCancelRefused),
    #[saga(timer)]
    ResendDue(ResendDue),
    #[saga(timer)]
    PaymentSlow(PaymentSlow),
    #[saga(timer)]
    PaymentExpired(PaymentExpired),
}
