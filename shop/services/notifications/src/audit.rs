//! Reads of sent mails, for the invariants of `shop audit`.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

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
