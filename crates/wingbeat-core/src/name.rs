//! Names of services, subscriptions, tables, views and counters.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::HashSet;

/// A name from a small, fixed vocabulary: a service, a subscription, a table, a view or a counter.
///
/// A `Name` is a `&'static str`, so copies are cheap. It compares, sorts and serializes as its
/// text.
///
/// ```
/// use wingbeat_core::Name;
///
/// const ORDERS: Name = Name::new("orders");
///
/// let stored = String::from("orders"); // as an adapter reads it back from its server
/// assert_eq!(Name::intern(&stored), ORDERS);
/// assert_eq!(ORDERS.to_string(), "orders");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(&'static str);

static INTERNED: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

impl Name {
    /// Creates a name that is known at compile time.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Returns the name with this text, for names that an adapter reads back from its server.
    ///
    /// Each distinct text stays in memory until the process ends. Intern only names that a service
    /// declared, never a text that a client or another system chose.
    #[must_use]
    pub fn intern(name: &str) -> Self {
        let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
        let set = interned.get_or_insert_with(HashSet::default);
        if let Some(known) = set.get(name) {
            return Self(known);
        }
        let kept: &'static str = Box::leak(name.into());
        set.insert(kept);
        Self(kept)
    }

    /// Returns the text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(name)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::intern(&String::deserialize(deserializer)?))
    }
}
