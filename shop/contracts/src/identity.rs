//! The events of identity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::UserId;

/// A user signed up.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_registered", version = 1, key = user_id)]
pub struct UserRegistered {
    /// The user.
    pub user_id: UserId,
    /// `true` if the user wants offers.
    pub marketing_opt_in: bool,
}

/// A user signed in.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_logged_in", version = 1, key = user_id)]
pub struct UserLoggedIn {
    /// The user.
    pub user_id: UserId,
}

/// A user was erased. Each service erases its personal data about the user.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "identity.user_erased", version = 1, key = user_id)]
pub struct UserErased {
    /// The user.
    pub user_id: UserId,
}
