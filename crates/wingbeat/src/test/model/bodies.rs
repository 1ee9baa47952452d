//! The model's store of large bodies. It shares the faults of the model's store.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::bodies::{BodyRef, UNAVAILABLE};
use wingbeat_core::{Bodies, Error, Result};

use super::{Injector, lock};

/// A store of large bodies in memory.
pub(super) struct ModelBodies {
    injector: Injector,
    bodies: Mutex<BTreeMap<(u32, [u8; 32]), Bytes>>,
}

impl ModelBodies {
    pub(super) fn new(injector: Injector) -> Self {
        Self {
            injector,
            bodies: Mutex::default(),
        }
    }

    async fn reach(&self) -> Result<()> {
        let reached = self.injector.reach_store().await;
        reached.map_err(|_| Error::retry(UNAVAILABLE, "the store of bodies does not answer"))
    }
}

impl Bodies for ModelBodies {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.reach().await?;
            lock(&self.bodies)
                .entry((at.day, at.digest))
                .or_insert(body);
            Ok(())
        })
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            self.reach().await?;
            let found = lock(&self.bodies).get(&(at.day, at.digest)).cloned();
            let most = usize::try_from(at.size.saturating_add(1)).unwrap_or(usize::MAX);
            Ok(found.map(|body| body.slice(..body.len().min(most))))
        })
    }

    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            let old: Vec<_> = {
                let bodies = lock(&self.bodies);
                let old = bodies.range(..(day, [0; 32])).take(limit);
                old.map(|(key, _)| *key).collect()
            };
            if !old.is_empty() {
                self.reach().await?;
            }
            let mut bodies = lock(&self.bodies);
            Ok(old.iter().filter_map(|key| bodies.remove(key)).count())
        })
    }
}
