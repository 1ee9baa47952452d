//! Stock, reservations and the changes they allow. Pure.

mod reservation;
mod stock;

pub use reservation::{Change, Reservation, Step, merged};
pub use stock::{BelowReserved, Stock};
