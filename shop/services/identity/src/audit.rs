//! What the audit compares.

use wingbeat::{Reads, Result};

use crate::users::User;

/// Entities read at once.
const PAGE: usize = 1_000;

/// How many users have registered; the seeded admin apart.
///
/// # Errors
///
/// The store's.
pub async fn registered(reads: &Reads) -> Result<u64> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = reads.entities::<User>(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(count);
        };
        after = Some(last.clone());
        count += page
            .iter()
            .map(|(_, user)| u64::from(!user.admin))
            .sum::<u64>();
    }
}
