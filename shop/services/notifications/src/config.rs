//! Settings.

/// None yet: mail goes to the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {}
