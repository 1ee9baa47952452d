//! Every message there is, for `/asyncapi.json` and for whoever checks contracts.

use schemars::Schema;
use wingbeat::{Kind, Message};

/// What can be said about a message without sending one.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its wire type.
    pub name: &'static str,
    /// Event or command.
    pub kind: Kind,
    /// The service that owns it.
    pub owner: &'static str,
    /// The JSON Schema of its data.
    pub schema: Schema,
}

macro_rules! described {
    ($($owner:ident: $($message:ident),+;)+) => {
        /// Every message, by owner.
        #[must_use]
        pub fn all() -> Vec<Described> {
            vec![$($(Described {
                name: crate::$owner::$message::NAME,
                kind: crate::$owner::$message::KIND,
                owner: stringify!($owner),
                schema: schemars::schema_for!(crate::$owner::$message),
            },)+)+]
        }
    };
}

described! {
    carts: CartOpened, CartChanged;
    catalog: ProductListed, PriceChanged, ProductRetired;
    identity: UserRegistered, UserLoggedIn, UserErased;
    inventory: ReserveStock, ReleaseStock, CommitStock, RestockOrder, ExtendReservation, AdjustStock, StockReserved, StockRejected, StockCommitted, StockCommitRefused, StockReleased, StockLevelChanged;
    notifications: RememberAddress, EmailSent, EmailFailed;
    orders: OrderPlaced, OrderPaymentDelayed, OrderPaid, OrderShipped, OrderCompleted, OrderRejected, OrderCancelled;
    payments: AuthorizePayment, CapturePayment, VoidPayment, RefundPayment, PaymentAuthorized, PaymentDeclined, PaymentDelayed, PaymentCaptured, PaymentCaptureRefused, PaymentVoided, PaymentRefunded;
    promotions: ReservePromo, ReleasePromo, RedeemPromo, PromoIssued, PromoReserved, PromoRejected, PromoRedeemed, PromoReleased;
    shipping: CreateShipment, CancelShipment, ShipmentCreated, ShipmentDispatched, ShipmentDelivered, ShipmentCancelled, ShipmentCancelRefused;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_bears_its_owners_name_and_is_there_once() {
        let mut names: Vec<_> = all().iter().map(|message| message.name).collect();
        for message in all() {
            assert!(
                message.name.starts_with(&format!("{}.", message.owner)),
                "{}",
                message.name
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
