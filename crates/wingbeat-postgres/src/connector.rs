//! Opens connections: the first host that accepts writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{Connect, Object, tokio_postgres};
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, NoTls, TlsConnect};
use tokio_postgres::{Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use wingbeat_connect::{Host, Tls};
use wingbeat_core::LogLimit;

use crate::address::Address;
use crate::clock::log_clock;

/// Limits the log lines about connections that have ended: all of a pool end at once.
static ENDED: LogLimit = LogLimit::new(20, Duration::from_secs(1));

type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Connector {
    hosts: Arc<[Host]>,
    tls: Option<Arc<Tls>>,
    /// The host that was connected last. It is tried first.
    preferred: Arc<AtomicUsize>,
    /// The time limit for each host except the last one, which has the rest of the pool's limit.
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(hosts: Vec<Host>, tls: Option<Tls>, limit: Duration) -> Self {
        Self {
            hosts: hosts.into(),
            tls: tls.map(Arc::new),
            preferred: Arc::default(),
            limit,
        }
    }

    /// Cancels the running statement of a connection.
    pub(crate) async fn cancel(
        &self,
        running: &tokio_postgres::CancelToken,
    ) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => running.cancel_query(rustls(tls)).await,
            None => running.cancel_query(NoTls).await,
        }
    }

    /// Connects to the first host that accepts the connection, beginning with the one that did so
    /// last.
    pub(crate) async fn open(&self, server: &tokio_postgres::Config) -> Connected {
        let (count, first) = (self.hosts.len(), self.preferred.load(Ordering::Relaxed));
        for turn in 0..count - 1 {
            let at = (first + turn) % count;
            let opened = self.open_at(server, at);
            if let Ok(Ok(connected)) = tokio::time::timeout(self.limit, opened).await {
                return Ok(connected);
            }
        }
        self.open_at(server, (first + count - 1) % count).await
    }

    async fn open_at(&self, server: &tokio_postgres::Config, at: usize) -> Connected {
        let server = Address::at(server, &self.hosts[at]);
        let opened = match &self.tls {
            Some(tls) => open(&server, rustls(tls)).await,
            None => open(&server, NoTls).await,
        };
        match &opened {
            Ok(_) => self.preferred.store(at, Ordering::Relaxed),
            Err(why) => tracing::debug!(host = self.hosts[at].name, "no connection: {why}"),
        }
        opened
    }
}

fn rustls(tls: &Tls) -> MakeRustlsConnect {
    MakeRustlsConnect::new((*tls.config()).clone())
}

/// Connects, and starts the task of the connection.
async fn open<T>(server: &tokio_postgres::Config, tls: T) -> Connected
where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = server.connect(tls).await?;
    let task = tokio::spawn(async move {
        if let Err(why) = connection.await
            && let Some(suppressed) = ENDED.admit(log_clock())
        {
            tracing::warn!(suppressed, "a connection to PostgreSQL has ended: {why}");
        }
    });
    Ok((client, task))
}

/// Closes a connection that turned out to be dead or read-only, and all idle ones of its pool:
/// they lead to the same server, and each would fail in its turn.
pub(crate) fn discard(connection: Object) {
    if let Some(pool) = Object::pool(&connection) {
        pool.retain(|_, _| false);
    }
    drop(Object::take(connection));
}

impl Connect for Connector {
    fn connect(&self, server: &tokio_postgres::Config) -> BoxFuture<'_, Connected> {
        let server = server.clone();
        Box::pin(async move { self.open(&server).await })
    }
}
