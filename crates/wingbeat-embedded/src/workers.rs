//! A pool of threads that run closures, each on its own connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use wingbeat_core::{Error, Result};

use crate::fault::{closed, failed_in_use};

/// Capacity of the queue of work; callers wait while it is full.
const QUEUED_MAX: usize = 1024;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// A pool of threads that share one queue of work. Dropping it finishes the queued work and joins
/// the threads.
#[derive(Debug)]
pub(crate) struct Workers {
    work: Option<mpsc::Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each connection.
    pub(crate) fn start(name: &str, connections: Vec<Connection>) -> Result<Self> {
        let (send, receive) = mpsc::channel::<Work>(QUEUED_MAX);
        let receive = Arc::new(Mutex::new(receive));
        let spawn = |mut connection: Connection| {
            let receive = Arc::clone(&receive);
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    while let Some(work) = next(&receive) {
                        work(&mut connection);
                    }
                })
        };
        let threads: std::io::Result<Vec<_>> = connections.into_iter().map(spawn).collect();
        let threads = threads
            .map_err(|e| Error::retry("store_failed", "cannot start a thread").because(e))?;
        Ok(Self {
            work: Some(send),
            threads,
        })
    }

    /// Queues `work` without waiting for its result.
    async fn send(&self, work: impl FnOnce(&mut Connection) + Send + 'static) -> Result<()> {
        let sender = self.work.as_ref().ok_or_else(closed)?;
        sender.send(Box::new(work)).await.map_err(|_| closed())
    }

    /// Runs `work` on a thread and returns its result. If the caller stops waiting, the work still
    /// runs.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = oneshot::channel();
        self.send(move |connection| {
            let _ = send.send(work(connection)); // The caller may have stopped waiting.
        })
        .await?;
        let result = receive.await.map_err(|_| closed())?;
        result.map_err(|e| failed_in_use(&e))
    }
}

/// Waits for work. It holds the lock while it waits: the other threads queue for the lock.
fn next(receive: &Mutex<mpsc::Receiver<Work>>) -> Option<Work> {
    receive
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
