//! Services of the shop together, in virtual time.

mod administration;
mod overload;
