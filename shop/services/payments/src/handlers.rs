//! The message handlers: load the payment, decide, and record a call to the provider or an event.

use shop_contracts::OrderId;
use shop_contracts::payments::{
    AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptureRefused, PaymentCaptured,
    PaymentDeclined, PaymentRefunded, PaymentVoided, RefundPayment, VoidPayment,
};
use wingbeat::{Effects, Result, Table};

use crate::calls::{AskProvider, ProviderAnswered};
use crate::domain::{Next, Operation, Payment, State};

/// Authorizes an amount.
pub(crate) async fn authorize(
    command: AuthorizePayment,
    payments: Table<Payment>,
) -> Result<Effects> {
    change(command.order_id, &payments, |payment| {
        payment.authorize(command.amount, command.token)
    })
    .await
}

/// Captures the authorized amount.
pub(crate) async fn capture(command: CapturePayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::capture).await
}

/// Voids the authorization.
pub(crate) async fn void(command: VoidPayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::void).await
}

/// Refunds the captured amount.
pub(crate) async fn refund(command: RefundPayment, payments: Table<Payment>) -> Result<Effects> {
    change(command.order_id, &payments, Payment::refund).await
}

/// Records the provider's answer.
pub(crate) async fn answered(
    command: ProviderAnswered,
    payments: Table<Payment>,
) -> Result<Effects> {
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
        Next::Call(operation) => {
            effects.call(&ask(order_id, operation, &payment));
        }
        Next::Report(state) => report(order_id, state, &payment, &mut effects),
        Next::Wait => {}
    }
    if payment != before {
        payments.put(&order_id, payment)?;
    }
    Ok(effects)
}

/// The call for an operation. It has the same operation id each time, so the provider carries it
/// out once.
pub(crate) fn ask(order_id: OrderId, operation: Operation, payment: &Payment) -> AskProvider {
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

/// Publishes the state of the payment, for the checkout that asked for it.
fn report(order_id: OrderId, state: State, payment: &Payment, effects: &mut Effects) {
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
