//! Places of claimed messages in the outbox.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;
use wingbeat_core::{HashMap, MessageId, Name};

/// Maximum number of remembered places. Beyond it, all are forgotten, and the outbox looks the
/// messages up by id.
const PLACES_MAX: usize = 100_000;

/// The service and the place of each claimed message. A message is deleted by its place, so the
/// outbox needs no index on ids.
#[derive(Default)]
pub(crate) struct Places(Mutex<HashMap<Uuid, (Name, i64)>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (Name, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the places of a service's messages.
    pub(crate) fn insert(&self, service: Name, found: impl Iterator<Item = (Uuid, i64)>) {
        let mut places = self.lock();
        if places.len() > PLACES_MAX {
            places.clear();
        }
        places.extend(found.map(|(id, place)| (id, (service, place))));
    }

    /// Returns the service and the place of each message; `None` where they are not known.
    pub(crate) fn get_all(&self, ids: impl Iterator<Item = MessageId>) -> Vec<Option<(Name, i64)>> {
        let places = self.lock();
        ids.map(|id| places.get(&id.0).copied()).collect()
    }

    /// Forgets messages that left the outbox.
    pub(crate) fn remove_all(&self, ids: &[MessageId]) {
        let mut places = self.lock();
        for id in ids {
            places.remove(&id.0);
        }
    }
}
