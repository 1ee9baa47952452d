//! Reads of sent mails and contacts, for the invariants of `shop audit` and of the simulation.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::domain::Contact;
use crate::mailbox;
use crate::mailer::{Sent, sent_key};

/// Records per read.
const PAGE: usize = 1_000;

/// Returns the users who were sent their welcome mail. A user has one at most, because its record
/// has the user's id.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn welcomed(reads: &Reads) -> Result<BTreeSet<UserId>> {
    let prefix = sent_key("welcome", "");
    let mut users = BTreeSet::new();
    let mut after = Some(prefix.clone());
    loop {
        let page = reads.entities::<Sent>(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(users);
        };
        after = Some(last.clone());
        for (key, _) in page {
            match key.strip_prefix(&prefix) {
                Some(user) => users.extend(user.parse::<UserId>()),
                None => return Ok(users),
            }
        }
    }
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
