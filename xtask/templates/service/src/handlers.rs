//! The message handlers. Each is idempotent.

use wingbeat::{Error, Result, State, Table};

use crate::Config;
use crate::contracts::{OrderRated, RateOrder};
use crate::domain::Rating;

/// Records the rating of an order. A repeated command changes nothing.
pub(crate) async fn rate_order(
    command: RateOrder,
    State(config): State<Config>,
    ratings: Table<Rating>,
) -> Result<Option<OrderRated>> {
    let RateOrder {
        order_id,
        user_id,
        stars,
    } = command;
    let rating = Rating::new(user_id, stars, config.stars_max)
        .map_err(|refused| Error::reject("invalid_stars", refused.to_string()))?;
    if ratings.get(&order_id).await?.as_ref() == Some(&rating) {
        return Ok(None);
    }
    ratings.put(&order_id, rating)?;
    Ok(Some(OrderRated {
        order_id,
        user_id,
        stars,
    }))
}
