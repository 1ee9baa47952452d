//! A payment: the requests, the provider's answers, and the replies to repeated requests. Pure.

mod payment;

pub use payment::{Answer, Next, Operation, Payment, State};
