//! What may happen to a shipment. Pure.

mod status;

pub use status::{Dispatched, Status};
