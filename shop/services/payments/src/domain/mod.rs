//! A payment: what was asked, what the provider said, and what to say to whoever asks again. Pure.

mod payment;

pub use payment::{Answer, Next, Operation, Payment, State};
