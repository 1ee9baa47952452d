//! What happened, and whom to tell.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::{UserErased, UserRegistered};
use shop_contracts::notifications::{EmailSent, RememberAddress};
use shop_contracts::orders::{OrderCancelled, OrderPaid, OrderRejected, OrderShipped};
use shop_contracts::promotions::PromoIssued;
use wingbeat::{Command, JsonSchema, Reads, Result, Rows, schemars};

use crate::domain::{Mail, Person};
use crate::mailbox::{self, MailRow};
use crate::post::Post;

/// Removes a user's mails from the mailbox. Notifications' own: a step after the address is forgotten,
/// when nothing can be added any more.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "notifications.scrub_mailbox", version = 1, key = user_id, internal)]
pub struct ScrubMailbox {
    /// The user.
    pub user_id: UserId,
}

/// Learns an address, and sends what waited for it.
///
/// # Errors
///
/// The store's, here and below; or too many mails wait.
pub async fn remember_address(command: RememberAddress, post: Post) -> Result<Vec<EmailSent>> {
    let person = Person {
        email: command.email,
        name: command.name,
        marketing_opt_in: command.marketing_opt_in,
    };
    post.remember(command.user_id, person).await
}

/// Welcomes a new user.
///
/// # Errors
///
/// See above.
pub async fn user_registered(event: UserRegistered, post: Post) -> Result<Option<EmailSent>> {
    post.deliver(event.user_id, Mail::Welcome).await
}

/// Tells of a promo, if they want to hear of it.
///
/// # Errors
///
/// See above.
pub async fn promo_issued(event: PromoIssued, post: Post) -> Result<Option<EmailSent>> {
    let PromoIssued {
        user_id,
        code,
        percent,
        expires_at,
    } = event;
    let mail = Mail::Promo {
        code,
        percent,
        expires_at,
    };
    post.deliver(user_id, mail).await
}

/// Confirms a payment.
///
/// # Errors
///
/// See above.
pub async fn order_paid(event: OrderPaid, post: Post) -> Result<Option<EmailSent>> {
    let (order_id, total) = (event.order_id, event.total);
    post.deliver(event.user_id, Mail::OrderPaid { order_id, total })
        .await
}

/// Tells that an order cannot be fulfilled.
///
/// # Errors
///
/// See above.
pub async fn order_rejected(event: OrderRejected, post: Post) -> Result<Option<EmailSent>> {
    let (order_id, reason) = (event.order_id, event.reason);
    post.deliver(event.user_id, Mail::OrderRejected { order_id, reason })
        .await
}

/// Tells that an order is on its way.
///
/// # Errors
///
/// See above.
pub async fn order_shipped(event: OrderShipped, post: Post) -> Result<Option<EmailSent>> {
    let order_id = event.order_id;
    post.deliver(event.user_id, Mail::OrderShipped { order_id })
        .await
}

/// Confirms a cancellation.
///
/// # Errors
///
/// See above.
pub async fn order_cancelled(event: OrderCancelled, post: Post) -> Result<Option<EmailSent>> {
    let order_id = event.order_id;
    post.deliver(event.user_id, Mail::OrderCancelled { order_id })
        .await
}

/// Forgets a user; their mails go next.
///
/// # Errors
///
/// After the handler has returned.
pub async fn user_erased(event: UserErased, post: Post) -> Result<ScrubMailbox> {
    let user_id = event.user_id;
    post.forget(user_id)?;
    Ok(ScrubMailbox { user_id })
}

/// Removes a user's mails, a bounded number at a time.
///
/// # Errors
///
/// The store's.
pub async fn scrub_mailbox(
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
