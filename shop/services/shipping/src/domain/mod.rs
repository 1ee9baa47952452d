//! The status of a shipment and the changes it allows. Pure.

mod status;

pub use status::{Dispatched, Status};
