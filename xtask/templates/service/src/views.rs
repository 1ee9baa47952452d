//! The ratings of a user, and how a rating is stored.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, UserId};
use wingbeat::store::Select;
use wingbeat::{Entity, JsonSchema, Name, Reads, Result, View, ViewColumns, ViewRow, schemars};

use crate::domain::Rating;

/// The most ratings in one response.
const SHOWN_MAX: usize = 100;
/// The index column: the customer.
const USER: &str = "user_id";

/// A row of a user's list of ratings. The key is the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatingRow {
    /// The rating.
    pub rating: Rating,
}

impl View for RatingRow {
    const NAME: &'static str = "ratings_of_user";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(USER, self.rating.user_id.to_string())]
    }
}

/// Each change of a rating rewrites its row in the list of its user.
impl Entity for Rating {
    const NAME: &'static str = "rating";
    type Id = OrderId;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<RatingRow>(&[USER])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let rating = self.clone();
        vec![ViewRow::of(id, &RatingRow { rating })]
    }
}

/// A rating in the response of the service's route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "SamplesItem")]
pub struct Item {
    /// The order.
    pub order_id: String,
    /// The number of stars.
    pub stars: u8,
}

/// Returns the ratings of a user, by order.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn of_user(reads: &Reads, user: UserId) -> Result<Vec<Item>> {
    let theirs = Select::Prefix {
        column: Name::new(USER),
        prefix: user.to_string(),
        descending: false,
    };
    let page = reads.rows::<RatingRow>(theirs, None, SHOWN_MAX).await?;
    let items = page.rows.into_iter().map(|(order_id, row)| Item {
        order_id,
        stars: row.rating.stars,
    });
    Ok(items.collect())
}
