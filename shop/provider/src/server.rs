//! The HTTP server of the provider.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::ledger::{Ledger, Stats};
use crate::routes::{Bank, CutConnection, routes};

/// The settings of the provider.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 selects a free port.
    pub listen: SocketAddr,
    /// The file of the ledger.
    pub ledger: PathBuf,
}

/// The reason why the provider cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound.
    #[error("the payment provider cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The ledger cannot be opened.
    #[error("the payment provider cannot open its ledger {0}: {1}")]
    Ledger(PathBuf, rusqlite::Error),
}

/// A running provider. Dropping it stops the server.
pub struct Provider {
    address: SocketAddr,
    ledger: Ledger,
    accepting: JoinHandle<()>,
}

impl Provider {
    /// Returns the base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the counters of the writer.
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
/// [`Error::Listen`] if the address cannot be bound; [`Error::Ledger`] if the ledger cannot be
/// opened.
pub async fn start(config: Config) -> Result<Provider, Error> {
    start_within(config, |routes| routes).await
}

/// Starts the provider with middleware around its routes, for example to trace requests.
///
/// # Errors
///
/// Those of [`start`].
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
    let _ = stream.set_nodelay(true); // An optimization.
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let answer = routes.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                let Ok(response) = answer.await;
                let cut = response.extensions().get::<CutConnection>().is_some();
                if cut {
                    Err(io::Error::other("the connection is cut instead of a reply"))
                } else {
                    Ok(response)
                }
            }
        });
    let builder = http1::Builder::new();
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let _ = served.await; // The client has disconnected, or `CutConnection` closed the connection.
}
