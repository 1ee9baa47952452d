//! The HTTP client.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wingbeat_connect::{Tls, TlsFiles, Verify};

use super::connection::Connection;
use super::pool::Pool;
use super::{Answer, Base, Call, Error, EventStream, Fault};

/// The limits of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The timeout of a request: waiting for a connection, connecting, sending and reading.
    pub request: Duration,
    /// The most concurrent connections. Further requests wait. Event streams have connections of
    /// their own.
    pub connections_max: usize,
}

impl Default for Limits {
    /// 10 s, and 512 connections, which together with the streams stay below the usual limit of
    /// 1,024 open files.
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            connections_max: 512,
        }
    }
}

/// An HTTP client for one server. Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    base: Base,
    tls: Option<Tls>,
    limits: Limits,
    pool: Pool,
}

impl Client {
    /// Creates a client. It connects on the first request. `files` are those for TLS, if the URL
    /// asks for it.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if a file cannot be used.
    pub fn new(
        base: Base,
        limits: Limits,
        files: TlsFiles,
    ) -> Result<Self, wingbeat_connect::Error> {
        let tls = base.is_secure().then(|| Tls::new(files, Verify::Full));
        Ok(Self(Arc::new(Inner {
            tls: tls.transpose()?,
            base,
            limits,
            pool: Pool::new(limits.connections_max),
        })))
    }

    /// Returns the base URL of the server.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.0.base
    }

    /// Sends a request, once, and returns the reply whatever its status.
    ///
    /// A pooled connection that the server has closed is no error: the request, of which nothing
    /// was sent, uses another connection.
    ///
    /// # Errors
    ///
    /// The [`Fault`] because of which there is no reply.
    pub async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let limit = call.within.unwrap_or(self.0.limits.request);
        let answer = timeout(limit, self.0.exchange(call)).await;
        answer
            .unwrap_or(Err(Fault::TimedOut(limit)))
            .map_err(|fault| failed(call, fault))
    }

    /// Opens an event stream on a connection of its own.
    ///
    /// # Errors
    ///
    /// [`Fault::NoStream`] with the status if the server refuses; another [`Fault`] if there is no
    /// reply.
    pub async fn events(&self, call: &Call<'_>) -> Result<EventStream, Error> {
        let limit = self.0.limits.request;
        let open = async {
            let mut connection = Connection::open(&self.0.base, self.0.tls.as_ref()).await?;
            let response = connection.begin(call.request(&self.0.base)?).await?;
            EventStream::new(connection, response)
        };
        let stream = timeout(limit, open).await;
        stream
            .unwrap_or(Err(Fault::TimedOut(limit)))
            .map_err(|fault| failed(call, fault))
    }
}

impl Inner {
    async fn exchange(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let _permit = self.pool.permit().await;
        while let Some(connection) = self.pool.take() {
            match self.on(connection, call).await {
                Err(Fault::Unsent) => {}
                answer => return answer,
            }
        }
        let connection = Connection::open(&self.base, self.tls.as_ref()).await?;
        self.on(connection, call).await
    }

    async fn on(&self, mut connection: Connection, call: &Call<'_>) -> Result<Answer, Fault> {
        let answer = connection.exchange(call.request(&self.base)?).await?;
        self.pool.put(connection);
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
