//! A user's promos.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use wingbeat::store::Select;
use wingbeat::{JsonSchema, Name, Reads, Result, Timestamp, View, schemars};

use crate::domain::Promo;

/// Promos shown to one user; they get one when they sign up.
const SHOWN_MAX: usize = 100;
/// The index column.
const USER: &str = "user_id";

/// A promo as its owner's list shows it. The key is the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoRow {
    /// The code.
    pub code: String,
    /// The promo.
    pub promo: Promo,
}

impl PromoRow {
    /// The row of this promo.
    #[must_use]
    pub fn of(code: &str, promo: &Promo) -> Self {
        Self {
            code: code.into(),
            promo: promo.clone(),
        }
    }
}

impl View for PromoRow {
    const NAME: &'static str = "promos_of_user";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(USER, self.promo.user_id.to_string())]
    }
}

/// A promo on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Promotion")]
pub struct Item {
    /// What to type.
    pub code: String,
    /// What it takes off.
    pub percent: u8,
    /// `issued`, `reserved`, `redeemed` or `expired`.
    #[schemars(extend("enum" = ["issued", "reserved", "redeemed", "expired"]))]
    pub status: &'static str,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// The promos of a user, by code.
///
/// # Errors
///
/// The store's.
pub async fn of_user(reads: &Reads, user: UserId, now: Timestamp) -> Result<Vec<Item>> {
    let theirs = Select::Prefix {
        column: Name::new(USER),
        prefix: user.to_string(),
        descending: false,
    };
    let listed = reads.rows::<PromoRow>(theirs, None, SHOWN_MAX).await?;
    let items = listed.rows.into_iter().map(|(_, row)| Item {
        status: row.promo.status(now),
        percent: row.promo.percent,
        expires_at: row.promo.expires_at,
        code: row.code,
    });
    Ok(items.collect())
}
