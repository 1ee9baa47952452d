//! Reads of all users, for the invariants of `shop audit`.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::users::User;

/// Entities per read.
const PAGE: usize = 1_000;

/// Returns the registered users, without the admin.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn registered(reads: &Reads) -> Result<BTreeSet<UserId>> {
    let (mut users, mut after) = (BTreeSet::new(), None);
    loop {
        let page = reads.entities::<User>(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(users);
        };
        after = Some(last.clone());
        let customers = page.into_iter().filter(|(_, user)| !user.admin);
        users.extend(customers.filter_map(|(id, _)| id.parse::<UserId>().ok()));
    }
}
