//! Ratings and their rules. Pure.

mod rating;

pub use rating::{InvalidStars, Rating};
