//! The commands to notifications and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::UserId;

/// Store the address of a user. It is a command because events contain no personal data.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "notifications.remember_address", version = 1, key = user_id)]
pub struct RememberAddress {
    /// The user.
    pub user_id: UserId,
    /// The e-mail address.
    pub email: String,
    /// The name.
    pub name: String,
    /// `true` if the user wants offers.
    pub marketing_opt_in: bool,
}

/// A mail was sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "notifications.email_sent", version = 1, key = user_id)]
pub struct EmailSent {
    /// The user.
    pub user_id: UserId,
    /// The name of the template.
    pub template: String,
}

/// A mail could not be sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "notifications.email_failed", version = 1, key = user_id)]
pub struct EmailFailed {
    /// The user.
    pub user_id: UserId,
    /// The name of the template.
    pub template: String,
}
