//! The socket in front of the ledger.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::ledger::{Ledger, Stats};
use crate::routes::{Bank, CutConnection, routes};

/// Where the provider listens and keeps its ledger.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port 0 for any.
    pub listen: SocketAddr,
    /// The ledger's file.
    pub ledger: PathBuf,
}

/// Why the provider does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken.
    #[error("the payment provider cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The ledger cannot be opened.
    #[error("the payment provider's ledger {0} cannot be opened: {1}")]
    Ledger(PathBuf, rusqlite::Error),
}

/// A provider that runs; dropped, it stops.
pub struct Provider {
    address: SocketAddr,
    ledger: Ledger,
    accepting: JoinHandle<()>,
}

impl Provider {
    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How its writer has batched.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.ledger.stats()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Starts the provider.
///
/// # Errors
///
/// The address is taken, or the ledger cannot be opened.
pub async fn start(config: Config) -> Result<Provider, Error> {
    start_within(config, |routes| routes).await
}

/// The same, with something around its routes, such as who traces them.
///
/// # Errors
///
/// As [`start`].
pub async fn start_within(
    config: Config,
    around: impl FnOnce(Router) -> Router + Send,
) -> Result<Provider, Error> {
    let ledger =
        Ledger::open(&config.ledger).map_err(|why| Error::Ledger(config.ledger.clone(), why))?;
    let listening = |why| Error::Listen(config.listen, why);
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let bank = Bank {
        ledger: ledger.clone(),
        chance: Arc::default(),
    };
    let accepting = tokio::spawn(accept(listener, around(routes(bank))));
    Ok(Provider {
        address,
        ledger,
        accepting,
    })
}

async fn accept(listener: TcpListener, routes: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(connection(stream, routes.clone()));
    }
}

async fn connection(stream: TcpStream, routes: Router) {
    drop(stream.set_nodelay(true));
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let answer = routes.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                let Ok(response) = answer.await;
                let cut = response.extensions().get::<CutConnection>().is_some();
                if cut {
                    Err(io::Error::other("the reply is lost"))
                } else {
                    Ok(response)
                }
            }
        });
    let builder = auto::Builder::new(TokioExecutor::new());
    drop(
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}
