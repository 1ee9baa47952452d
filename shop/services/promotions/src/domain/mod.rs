//! Promo codes and the changes they allow. Pure.

mod booking;
mod code;
mod promo;

pub use booking::Booking;
pub use code::{Code, welcome_code};
pub use promo::{Promo, Use};
