//! What notifications is asked and tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::UserId;

/// Where a user's mail goes. A command, because it names a person.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "notifications.remember_address", version = 1, key = user_id)]
pub struct RememberAddress {
    /// The user.
    pub user_id: UserId,
    /// Where.
    pub email: String,
    /// Whom to greet.
    pub name: String,
    /// They want to hear of offers.
    pub marketing_opt_in: bool,
}

/// A mail was sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "notifications.email_sent", version = 1, key = user_id)]
pub struct EmailSent {
    /// The user.
    pub user_id: UserId,
    /// Which.
    pub template: String,
}

/// A mail could not be sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "notifications.email_failed", version = 1, key = user_id)]
pub struct EmailFailed {
    /// The user.
    pub user_id: UserId,
    /// Which.
    pub template: String,
}
