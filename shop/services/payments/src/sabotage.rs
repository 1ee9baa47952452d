//! The handlers without one mechanism, for negative controls. Compiled only with the feature
//! `sabotage`.
//!
//! Each function decorates the handler of the same name.

use shop_contracts::payments::{AuthorizePayment, CapturePayment};
use wingbeat::{Effects, Result, Table};
use wingbeat_core::sabotage::{OPERATION_ID, lacks};

use crate::domain::{Operation, Payment, State};
use crate::handlers::{self, ask};

pub(crate) use crate::handlers::{answered, refund, void};

/// Authorizes an amount. Without operation ids, a repeated command is a new operation.
pub(crate) async fn authorize(
    command: AuthorizePayment,
    payments: Table<Payment>,
) -> Result<Effects> {
    let order_id = command.order_id;
    let before = payments.get(&order_id).await?.unwrap_or_default();
    let mut effects = handlers::authorize(command, payments).await?;
    if lacks(OPERATION_ID) && before.state == State::Authorizing {
        let mut again = ask(order_id, Operation::Authorize, &before);
        again.operation_id.push_str(":again");
        effects.call(&again);
    }
    Ok(effects)
}

/// Captures the authorized amount. Without operation ids, a repeated command is a new operation.
pub(crate) async fn capture(command: CapturePayment, payments: Table<Payment>) -> Result<Effects> {
    let order_id = command.order_id;
    let before = payments.get(&order_id).await?.unwrap_or_default();
    let mut effects = handlers::capture(command, payments).await?;
    if lacks(OPERATION_ID) && before.state == State::Capturing {
        let mut again = ask(order_id, Operation::Capture, &before);
        again.operation_id.push_str(":again");
        effects.call(&again);
    }
    Ok(effects)
}
