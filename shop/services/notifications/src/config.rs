//! The settings of the service.

/// The settings of notifications. There are none yet, because all mail goes to the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {}
