//! The promos of a user, and the stored form of a promo.

use serde::{Deserialize, Serialize};
use shop_contracts::{Percent, UserId};
use wingbeat::store::Select;
use wingbeat::{Entity, JsonSchema, Name, Reads, Result, Timestamp, View, schemars};
use wingbeat::{ViewColumns, ViewRow};

use crate::domain::{Code, Promo};

/// The most promos in a user's list. A user gets one on sign-up.
const SHOWN_MAX: usize = 100;
/// The index column: the owner.
pub(crate) const USER: &str = "user_id";

/// A row of a user's list of promos. The key is the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromoRow {
    /// The code.
    pub code: String,
    /// The promo.
    pub promo: Promo,
}

impl PromoRow {
    /// Returns the row of a promo.
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

/// Each change of a promo rewrites its row of the owner's list.
impl Entity for Promo {
    const NAME: &'static str = "promo";
    type Id = Code;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<PromoRow>(&[USER])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(id, &PromoRow::of(id, self))]
    }
}

/// A promo in the reply of `GET /promotions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Promotion")]
pub struct Item {
    /// The code that the user enters at checkout.
    pub code: String,
    /// The discount in percent.
    pub percent: Percent,
    /// `issued`, `reserved`, `redeemed` or `expired`.
    #[schemars(extend("enum" = ["issued", "reserved", "redeemed", "expired"]))]
    pub status: &'static str,
    /// The time from which the promo can no longer be reserved.
    pub expires_at: Timestamp,
}

/// Returns the promos of a user, by code.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
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
