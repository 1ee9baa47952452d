//! The store of large bodies, seen by a process.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::{Bodies, Result};

use super::Proxy;

impl Proxy<dyn Bodies> {
    /// Waits for an answer. It comes only if the process lives before and after the call.
    async fn ask<T>(&self, answer: BoxFuture<'_, Result<T>>) -> Result<T> {
        self.connection.while_alive().await;
        let answer = answer.await;
        self.connection.while_alive().await;
        answer
    }
}

impl Bodies for Proxy<dyn Bodies> {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.ask(self.inner.prepare()))
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.ask(self.inner.put(at, body)))
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.ask(self.inner.get(at)))
    }

    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>> {
        Box::pin(self.ask(self.inner.sweep(day, limit)))
    }
}
