//! The messages of the bank.

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;

/// A deposit was made.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.deposited", version = 1, key = account)]
pub(crate) struct DepositedV1 {
    pub(crate) account: String,
    /// The number of the deposit in its account, from 1.
    pub(crate) number: u64,
    pub(crate) deposit: String,
    pub(crate) amount: u64,
}

/// A deposit was made, with its currency.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bank.deposited", version = 2, key = account)]
pub(crate) struct DepositedV2 {
    pub(crate) account: String,
    pub(crate) number: u64,
    pub(crate) deposit: String,
    pub(crate) cents: u64,
    pub(crate) currency: String,
}
