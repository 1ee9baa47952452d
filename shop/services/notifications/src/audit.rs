//! Reads of sent mails and contacts, for the invariants of `shop audit` and of the simulation.

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::domain::{Contact, Person};
use crate::mailbox;
use crate::mailer::{Sent, sent_key};

/// Records per read.
const PAGE: usize = 1_000;
/// The template of the welcome mail.
const WELCOME: &str = "welcome";

/// Returns the next users who were sent their welcome mail in the order of their ids, which begin
/// after `after`; none after the last one. A user has one such mail at most, because its record has
/// the user's id.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn welcomed(reads: &Reads, after: Option<String>) -> Result<Vec<String>> {
    let after = sent_key(WELCOME, after.as_deref().unwrap_or_default());
    let prefix = sent_key(WELCOME, "");
    let page = reads.entities::<Sent>(Some(after), PAGE).await?;
    let users = page.iter().map_while(|(key, _)| key.strip_prefix(&prefix));
    Ok(users.map(str::to_owned).collect())
}

/// Returns whether a user was sent the welcome mail.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn was_welcomed(reads: &Reads, user: UserId) -> Result<bool> {
    let key = sent_key(WELCOME, &user.to_string());
    Ok(reads.entity::<Sent>(&key).await?.is_some())
}

/// Returns whether the service stores the address or a mail of a user.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn knows(reads: &Reads, user: UserId) -> Result<bool> {
    let contact = reads.entity::<Contact>(&user).await?;
    let (mails, _) = mailbox::keys_of(reads, user).await?;
    Ok(matches!(contact, Some(Contact::Known(_))) || !mails.is_empty())
}

/// Returns what the service knows about a user; `None` if it knows no address.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn person(reads: &Reads, user: UserId) -> Result<Option<Person>> {
    match reads.entity::<Contact>(&user).await? {
        Some(Contact::Known(person)) => reads.personal(&user, &person).await,
        _ => Ok(None),
    }
}
