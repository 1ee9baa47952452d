//! Connections to hosts, with or without TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::tls::Tls;
use crate::url::Host;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for T {}

/// A connection of any kind.
pub type BoxedStream = Box<dyn Stream>;

/// The reason why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The host is unavailable.
    Unavailable(io::Error),
    /// The host is available and TLS fails: it does not speak TLS, or the certificate of one side
    /// is not accepted.
    Tls(io::Error),
}

/// Connects to a host until a deadline; `port` is the default.
///
/// # Errors
///
/// The host is unavailable, or TLS fails. A server that does not reply to the handshake does not
/// speak TLS.
pub async fn connect(
    host: &Host,
    port: u16,
    tls: Option<&Tls>,
    deadline: Instant,
) -> Result<BoxedStream, ConnectError> {
    if host.is_unix() {
        let stream = within(deadline, UnixStream::connect(&host.name)).await;
        return match stream {
            Ok(stream) => Ok(Box::new(stream)),
            Err(why) => Err(ConnectError::Unavailable(why)),
        };
    }
    let address = (host.name.as_str(), host.port.unwrap_or(port));
    let stream = within(deadline, TcpStream::connect(address)).await;
    let stream = stream.map_err(ConnectError::Unavailable)?;
    stream
        .set_nodelay(true)
        .map_err(ConnectError::Unavailable)?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let name = tls.name_of(&host.name);
    let name = name.map_err(|why| ConnectError::Tls(io::Error::other(why.to_string())))?;
    let connecting = TlsConnector::from(tls.config()).connect(name, stream);
    match within(deadline, connecting).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(why) => Err(ConnectError::Tls(why)),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no reply in time");
    let result = tokio::time::timeout_at(deadline, work).await;
    result.unwrap_or_else(|_| Err(late()))
}

/// Returns whether an error comes from TLS: certificates that are refused at the first read after
/// the handshake, for example.
#[must_use]
pub fn is_tls_error(error: &io::Error) -> bool {
    let mut source = error
        .get_ref()
        .map(|it| it as &(dyn std::error::Error + 'static));
    while let Some(error) = source {
        if error.is::<rustls::Error>() {
            return true;
        }
        source = match error.downcast_ref::<io::Error>() {
            Some(inner) => inner.get_ref().map(|it| it as _),
            None => error.source(),
        };
    }
    false
}
