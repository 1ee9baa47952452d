//! A recipient of mails.

use serde::{Deserialize, Serialize};
use wingbeat::{JsonSchema, schemars};

/// A known recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The e-mail address.
    pub email: String,
    /// The name.
    pub name: String,
    /// `true` if the person wants offers.
    pub marketing_opt_in: bool,
}
