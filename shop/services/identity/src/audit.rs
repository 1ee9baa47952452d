//! Reads of all users, for the invariants of `shop audit`.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::users::StoredUser;

/// Entities per read.
const PAGE: usize = 1_000;

/// The ids of all users who ever registered.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// The users with an account, without the admin.
    pub active: BTreeSet<UserId>,
    /// The users who were erased.
    pub erased: BTreeSet<UserId>,
}

/// Returns the registered users.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn registered(reads: &Reads) -> Result<Registered> {
    let (mut users, mut after) = (Registered::default(), None);
    loop {
        let page = reads.entities::<StoredUser>(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(users);
        };
        after = Some(last.clone());
        for (id, user) in page.into_iter().filter(|(_, user)| !user.admin) {
            let set = if user.erased {
                &mut users.erased
            } else {
                &mut users.active
            };
            set.extend(id.parse::<UserId>());
        }
    }
}
