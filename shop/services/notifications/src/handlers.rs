//! The message handlers: each turns an event into a mail.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::{UserErased, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use shop_contracts::orders::{OrderCancelled, OrderPaid, OrderRejected, OrderShipped};
use shop_contracts::promotions::PromoIssued;
use wingbeat::{Command, JsonSchema, Reads, Result, Rows, schemars};

use crate::domain::{Mail, Person};
use crate::mailbox::{self, MailRow};
use crate::mailer::{Delivered, Mailer};

/// Removes a user's mails from the mailbox. The command is private to notifications. It follows the
/// erasure of the address, after which no mail can be added.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "notifications.scrub_mailbox", version = 1, key = user_id, internal)]
pub(crate) struct ScrubMailbox {
    user_id: UserId,
}

/// Stores an address, and sends the mails that waited for it.
pub(crate) async fn remember_address(
    command: RememberAddress,
    mailer: Mailer,
) -> Result<Vec<Delivered>> {
    let person = Person {
        email: command.email,
        name: command.name,
        marketing_opt_in: command.marketing_opt_in,
    };
    mailer.remember(command.user_id, person).await
}

/// Sends the welcome mail.
pub(crate) async fn user_registered(
    event: UserRegistered,
    mailer: Mailer,
) -> Result<Option<Delivered>> {
    mailer.deliver(event.user_id, Mail::Welcome).await
}

/// Sends a promo code to a user who wants offers.
pub(crate) async fn promo_issued(event: PromoIssued, mailer: Mailer) -> Result<Option<Delivered>> {
    let PromoIssued {
        user_id,
        code,
        percent,
        expires_at,
    } = event;
    let mail = Mail::Promo {
        code,
        percent: percent.get(),
        expires_at,
    };
    mailer.deliver(user_id, mail).await
}

/// Sends the confirmation of a payment.
pub(crate) async fn order_paid(event: OrderPaid, mailer: Mailer) -> Result<Option<Delivered>> {
    let (order_id, total) = (event.order_id, event.total);
    mailer
        .deliver(event.user_id, Mail::OrderPaid { order_id, total })
        .await
}

/// Sends the reason why an order cannot be fulfilled.
pub(crate) async fn order_rejected(
    event: OrderRejected,
    mailer: Mailer,
) -> Result<Option<Delivered>> {
    let (order_id, reason) = (event.order_id, event.reason);
    mailer
        .deliver(event.user_id, Mail::OrderRejected { order_id, reason })
        .await
}

/// Sends the notice of a dispatch.
pub(crate) async fn order_shipped(
    event: OrderShipped,
    mailer: Mailer,
) -> Result<Option<Delivered>> {
    let order_id = event.order_id;
    mailer
        .deliver(event.user_id, Mail::OrderShipped { order_id })
        .await
}

/// Sends the confirmation of a cancellation.
pub(crate) async fn order_cancelled(
    event: OrderCancelled,
    mailer: Mailer,
) -> Result<Option<Delivered>> {
    let order_id = event.order_id;
    mailer
        .deliver(event.user_id, Mail::OrderCancelled { order_id })
        .await
}

/// Erases a user's address; the mails are removed next.
pub(crate) async fn user_erased(event: UserErased, mailer: Mailer) -> Result<ScrubMailbox> {
    let user_id = event.user_id;
    mailer.forget(user_id).await?;
    Ok(ScrubMailbox { user_id })
}

/// Removes a user's mails, a bounded number per unit.
pub(crate) async fn scrub_mailbox(
    command: ScrubMailbox,
    reads: Reads,
    rows: Rows<MailRow>,
) -> Result<Option<ScrubMailbox>> {
    let (keys, more) = mailbox::keys_of(&reads, command.user_id).await?;
    for key in keys {
        rows.remove(key)?;
    }
    Ok(more.then_some(command))
}
