//! What identity tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::UserId;

/// Somebody signed up.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_registered", version = 1, key = user_id)]
pub struct UserRegistered {
    /// The user.
    pub user_id: UserId,
    /// They want to hear of offers.
    pub marketing_opt_in: bool,
}

/// Somebody signed in.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_logged_in", version = 1, key = user_id)]
pub struct UserLoggedIn {
    /// The user.
    pub user_id: UserId,
}

/// A user's personal data is to be erased everywhere.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_erased", version = 1, key = user_id)]
pub struct UserErased {
    /// The user.
    pub user_id: UserId,
}
