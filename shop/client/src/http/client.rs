//! The client: calls in, answers out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::lane::Lane;
use super::pool::Pool;
use super::{Answer, Base, Call, Error, EventStream, Fault};

/// Bounds of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole of a request: waiting for a connection, connecting, sending, reading.
    pub request: Duration,
    /// Connections at a time; requests beyond wait their turn. Event streams have their own.
    pub lanes_max: usize,
}

impl Default for Limits {
    /// 10 s; 512 connections, which with the streams stays below the usual 1,024 open files.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            lanes_max: 512,
        }
    }
}

/// An HTTP client for one server. Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    base: Base,
    limits: Limits,
    pool: Pool,
}

impl Client {
    /// A client; it connects when it is first used.
    #[must_use]
    pub fn new(base: Base, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            base,
            limits,
            pool: Pool::new(limits.lanes_max),
        }))
    }

    /// Where it sends to.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.0.base
    }

    /// Sends a call, once, and reads the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// Why there is no answer. A kept connection that the server has closed in the meantime is no
    /// error: the call then goes over another, as nothing of it had been sent.
    pub async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let limit = self.0.limits.request;
        let answer = timeout(limit, self.0.exchange(call)).await;
        answer
            .unwrap_or(Err(Fault::TimedOut(limit)))
            .map_err(|fault| failed(call, fault))
    }

    /// Opens an event stream, on a connection of its own.
    ///
    /// # Errors
    ///
    /// Why there is none; [`Fault::NoStream`] with the status when the server refused.
    pub async fn events(&self, call: &Call<'_>) -> Result<EventStream, Error> {
        let limit = self.0.limits.request;
        let open = async {
            let mut lane = Lane::open(&self.0.base).await?;
            let response = lane.begin(call.request(&self.0.base)?).await?;
            EventStream::new(lane, response)
        };
        let stream = timeout(limit, open).await;
        stream
            .unwrap_or(Err(Fault::TimedOut(limit)))
            .map_err(|fault| failed(call, fault))
    }
}

impl Inner {
    async fn exchange(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let _turn = self.pool.turn().await;
        while let Some(lane) = self.pool.take() {
            match self.on(lane, call).await {
                Err(Fault::Unsent) => {}
                answer => return answer,
            }
        }
        self.on(Lane::open(&self.base).await?, call).await
    }

    async fn on(&self, mut lane: Lane, call: &Call<'_>) -> Result<Answer, Fault> {
        let answer = lane.exchange(call.request(&self.base)?).await?;
        self.pool.put(lane);
        Ok(answer)
    }
}

fn failed(call: &Call<'_>, fault: Fault) -> Error {
    Error {
        method: call.method.clone(),
        path: call.path.to_owned(),
        fault,
    }
}
