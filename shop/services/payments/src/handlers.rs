//! Load the payment, decide, record: a call to the provider, or news for whoever asked.

use shop_contracts::OrderId;
use shop_contracts::payments::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptureRefused, PaymentCaptured,
    PaymentDeclined, PaymentRefunded, PaymentVoided, RefundPayment, VoidPayment,
};
use wingbeat::{Effects, Result, Table, sabotage};

use crate::calls::{AskProvider, ProviderAnswered};
use crate::domain::{Next, Operation, Payment, State};

/// Hold an amount.
///
/// # Errors
///
/// The store's, here and below.
pub async fn authorize(command: AuthorizePayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, |payment| {
        payment.authorize(command.amount, command.token)
    })
    .await
}

/// Take what is held.
///
/// # Errors
///
/// The store's.
pub async fn capture(command: CapturePayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::capture).await
}

/// Let go of what is held.
///
/// # Errors
///
/// The store's.
pub async fn void(command: VoidPayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::void).await
}

/// Pay back what was taken.
///
/// # Errors
///
/// The store's.
pub async fn refund(command: RefundPayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::refund).await
}

/// The provider answered.
///
/// # Errors
///
/// The store's.
pub async fn answered(command: ProviderAnswered, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, |payment| {
        payment.answered(command.operation, command.answer)
    })
    .await
}

async fn change(
    order_id: OrderId,
    payments: &Table<Payment>,
    decide: impl FnOnce(&mut Payment) -> Next,
) -> Result<Effects> {
    let before = payments.get(&order_id).await?.unwrap_or_default();
    let mut payment = before.clone();
    let next = decide(&mut payment);
    let mut effects = Effects::new();
    match next {
        Next::Ask(operation) => {
            effects.call(&ask(order_id, operation, &payment));
        }
        Next::Tell(state) => tell(order_id, state, &payment, &mut effects),
        Next::Wait => ask_again(order_id, &before, &payment, &mut effects),
    }
    if payment != before {
        payments.put(&order_id, payment)?;
    }
    Ok(effects)
}

/// Without operation ids: what is asked again is done again.
fn ask_again(order_id: OrderId, before: &Payment, payment: &Payment, effects: &mut Effects) {
    let operation = match payment.state {
        State::Authorizing => Operation::Authorize,
        State::Capturing => Operation::Capture,
        _ => return,
    };
    if sabotage::lacks(sabotage::OPERATION_ID) && before.state == payment.state {
        let mut again = ask(order_id, operation, payment);
        again.operation_id.push_str(":again");
        effects.call(&again);
    }
}

fn ask(order_id: OrderId, operation: Operation, payment: &Payment) -> AskProvider {
    let name = match operation {
        Operation::Authorize => "authorize",
        Operation::Capture => "capture",
        Operation::Void => "void",
        Operation::Refund => "refund",
    };
    AskProvider {
        operation_id: format!("{order_id}:{name}"),
        order_id,
        operation,
        amount: payment.amount,
        token: payment.token.clone(),
    }
}

fn tell(order_id: OrderId, state: State, payment: &Payment, effects: &mut Effects) {
    match state {
        State::Authorized => {
            effects.publish(&PaymentAuthorized { order_id });
        }
        State::Declined => {
            effects.publish(&PaymentDeclined { order_id });
        }
        State::Captured => {
            effects.publish(&PaymentCaptured {
                order_id,
                amount: payment.captured,
            });
        }
        State::CaptureRefused => {
            effects.publish(&PaymentCaptureRefused { order_id });
        }
        State::Voided => {
            effects.publish(&PaymentVoided { order_id });
        }
        State::Refunded => {
            effects.publish(&PaymentRefunded {
                order_id,
                amount: payment.refunded,
            });
        }
        State::New
        | State::Authorizing
        | State::Capturing
        | State::VoidWanted
        | State::Voiding
        | State::Refunding => {}
    }
}
