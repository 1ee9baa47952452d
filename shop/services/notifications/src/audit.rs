//! What the audit compares.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::post::{Sent, sent_key};

/// Records read at once.
const PAGE: usize = 1_000;

/// The users who were sent their welcome mail. Each has one: it is recorded under their id.
///
/// # Errors
///
/// The store's.
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
