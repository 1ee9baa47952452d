//! The pool of idle connections.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::connection::Connection;

/// The idle connections. The last used one is taken first, so that as few as possible stay in use.
pub(super) struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Creates a pool of at most `connections_max` connections.
    pub(super) fn new(connections_max: usize) -> Self {
        Self {
            permits: Semaphore::new(connections_max),
            idle: Mutex::default(),
        }
    }

    /// Waits for a permit to use one connection. Permits are granted in the order of the requests.
    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        let permit = self.permits.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    /// Takes an idle connection. The caller must have a permit.
    pub(super) fn take(&self) -> Option<Connection> {
        self.connections().pop()
    }

    /// Returns a connection to the pool, unless it has ended.
    pub(super) fn put(&self, connection: Connection) {
        if connection.is_open() {
            self.connections().push(connection);
        }
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
