//! Reads of all users, for the invariants of `shop audit`.

use std::collections::BTreeSet;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::users::{self, StoredUser};

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

/// The state of a registered user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The user has an account.
    Active,
    /// The user was erased.
    Erased,
    /// The admin, who did not sign up.
    Admin,
}

impl Standing {
    fn of(user: &StoredUser) -> Self {
        match (user.admin, user.erased) {
            (true, _) => Self::Admin,
            (false, true) => Self::Erased,
            (false, false) => Self::Active,
        }
    }
}

/// Returns the next users in the order of their ids, which begin after `after`; none after the last
/// one.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn users(reads: &Reads, after: Option<String>) -> Result<Vec<(String, Standing)>> {
    let page = reads.entities::<StoredUser>(after, PAGE).await?;
    let standing = |(id, user): (String, StoredUser)| (id, Standing::of(&user));
    Ok(page.into_iter().map(standing).collect())
}

/// Returns the standing of a user; `None` if nobody registered with this id.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn standing(reads: &Reads, user: UserId) -> Result<Option<Standing>> {
    let user = reads.entity::<StoredUser>(&user).await?;
    Ok(user.as_ref().map(Standing::of))
}

/// Returns the address and the name of a user; `None` if there is none or the user was erased.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn person(reads: &Reads, user: UserId) -> Result<Option<(String, String)>> {
    users::read(reads, user).await
}

/// Returns the registered users.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn registered(reads: &Reads) -> Result<Registered> {
    let (mut all, mut after) = (Registered::default(), None);
    loop {
        let page = users(reads, after).await?;
        let Some((last, _)) = page.last() else {
            return Ok(all);
        };
        after = Some(last.clone());
        for (id, standing) in page {
            match standing {
                Standing::Active => all.active.extend(id.parse::<UserId>()),
                Standing::Erased => all.erased.extend(id.parse::<UserId>()),
                Standing::Admin => {}
            }
        }
    }
}
