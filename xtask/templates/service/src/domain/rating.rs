//! The rating of an order.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use thiserror::Error;

/// The rating of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// The customer who rated it.
    pub user_id: UserId,
    /// The number of stars.
    pub stars: u8,
}

/// A refusal: the number of stars is out of range.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a rating has from 1 to {max} stars, not {stars}")]
pub struct InvalidStars {
    /// The number of stars.
    pub stars: u8,
    /// The most stars of a rating.
    pub max: u8,
}

impl Rating {
    /// Creates a rating.
    ///
    /// # Errors
    ///
    /// [`InvalidStars`] if the number of stars is 0 or more than the maximum.
    pub fn new(user_id: UserId, stars: u8, max: u8) -> Result<Self, InvalidStars> {
        if (1..=max).contains(&stars) {
            Ok(Self { user_id, stars })
        } else {
            Err(InvalidStars { stars, max })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_has_one_star_at_least_and_the_maximum_at_most() {
        let rating = |stars| Rating::new(UserId::default(), stars, 5);
        assert_eq!(rating(0), Err(InvalidStars { stars: 0, max: 5 }));
        assert!(rating(1).is_ok());
        assert!(rating(5).is_ok());
        assert_eq!(rating(6), Err(InvalidStars { stars: 6, max: 5 }));
    }
}
