//! HTTP/1.1 connections to other systems, with and without TLS.
#![allow(
    clippy::disallowed_methods,
    reason = "real connections are made on the real clock; simulations have none"
)]

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use wingbeat_core::tls::TlsFiles;
use wingbeat_core::{Error, Result, causes};

/// Pools of connections to HTTP servers. The scheme of a URL decides: `https` means TLS with a
/// checked certificate, `http` means none. Nothing falls back from one to the other.
///
/// Programs without the feature `https` refuse `https` URLs with `not_built`.
///
/// ```no_run
/// use std::time::Duration;
/// use wingbeat::connections::Connections;
///
/// # async fn get() -> Result<(), wingbeat::connections::Unanswered> {
/// let connections = Connections::new(Duration::from_secs(2), Default::default());
/// let request = http::Request::get("https://api.example.com/").body(Default::default());
/// let response = connections.send(request.expect("it is valid")).await?;
/// # drop(response);
/// # Ok(())
/// # }
/// ```
pub struct Connections {
    plain: Client<HttpConnector, Full<Bytes>>,
    secure: secure::Pool,
}

/// The reason why a request got no response.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unanswered {
    /// `false` if nothing of the request was sent, so that it can be repeated safely.
    pub sent: bool,
    /// The reason.
    pub error: Error,
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Unanswered {}

/// The time after which an unused connection is closed.
const IDLE: Duration = Duration::from_secs(20);

impl Connections {
    /// Creates empty pools. A connection attempt takes at most `connect_within`. The files are read
    /// at the first `https` request.
    #[must_use]
    pub fn new(connect_within: Duration, tls: TlsFiles) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_within));
        Self {
            plain: pool(connector),
            secure: secure::Pool::new(connect_within, tls),
        }
    }

    /// Reads the files of the TLS settings, so that a wrong one is reported now.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if a file cannot be used; `not_built` without the feature `https`.
    pub(crate) fn prepare_tls(&self) -> Result<()> {
        self.secure.prepare()
    }

    /// Sends a request and returns the response, whose body has not been read.
    ///
    /// # Errors
    ///
    /// `no_answer` (retry) if there is no response; `tls_failed` (retry) if the server does not
    /// speak TLS or its certificate is not valid; `tls_invalid` (reject) if a file of the TLS
    /// settings cannot be used; `not_built` (retry, until the program is replaced) without the
    /// feature `https`; `bad_request` (reject) if the URL is not an `http` or `https` URL, or
    /// contains a password.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Unanswered> {
        let request = request.map(Full::new);
        let refused = |error| Unanswered { sent: false, error };
        let is_secure = is_secure(request.uri()).map_err(refused)?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = if is_secure {
            self.secure.send(request).await.map_err(refused)?
        } else {
            self.plain.request(request).await
        };
        sent.map_err(|why| Unanswered {
            sent: !why.is_connect(),
            error: unanswered(&why, &host),
        })
    }
}

fn pool<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

/// Returns whether the URL asks for TLS.
fn is_secure(uri: &Uri) -> Result<bool> {
    let refused = |why: &str| Err(Error::reject("bad_request", why));
    if uri.authority().is_none_or(|it| it.as_str().contains('@')) {
        return refused("the URL needs a host, without user and password");
    }
    match uri.scheme_str() {
        Some("https") => Ok(true),
        Some("http") => Ok(false),
        _ => refused("the URL is neither `http` nor `https`"),
    }
}

fn unanswered(why: &ClientError, host: &str) -> Error {
    let causes = causes(why);
    let text = if why.is_connect() {
        format!("no connection to {host}, so nothing was sent: {causes}")
    } else {
        format!("no complete response arrived from {host}, so the outcome is unknown: {causes}")
    };
    let by_tls = secure::is_caused_by_tls(why);
    Error::retry(if by_tls { "tls_failed" } else { "no_answer" }, text)
}

#[cfg(feature = "https")]
mod secure {
    use std::error::Error as StdError;
    use std::io;
    use std::sync::{Arc, OnceLock};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::future::BoxFuture;
    use http::{Request, Response, Uri};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::client::legacy::{Client, Error as ClientError};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;
    use tower::Service;
    use wingbeat_connect::{Tls, Verify, rustls};
    use wingbeat_core::Result;
    use wingbeat_core::tls::TlsFiles;

    /// A pool of connections with TLS, made when it is first needed: the authorities of the system
    /// are some hundred certificates, and may be absent where nobody needs them.
    pub(super) struct Pool {
        connect_within: Duration,
        files: TlsFiles,
        client: OnceLock<Client<Connector, Full<Bytes>>>,
    }

    impl Pool {
        pub(super) fn new(connect_within: Duration, files: TlsFiles) -> Self {
            Self {
                connect_within,
                files,
                client: OnceLock::new(),
            }
        }

        pub(super) fn prepare(&self) -> Result<()> {
            self.client().map(drop)
        }

        fn client(&self) -> Result<&Client<Connector, Full<Bytes>>> {
            if let Some(client) = self.client.get() {
                return Ok(client);
            }
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            let connector = Connector {
                tcp,
                tls: Arc::new(Tls::new(self.files.clone(), Verify::Full)?),
                within: self.connect_within,
            };
            Ok(self.client.get_or_init(|| super::pool(connector)))
        }

        pub(super) async fn send(
            &self,
            request: Request<Full<Bytes>>,
        ) -> Result<std::result::Result<Response<Incoming>, ClientError>> {
            Ok(self.client()?.request(request).await)
        }
    }

    /// Opens connections with the certificates that are valid now.
    #[derive(Clone)]
    struct Connector {
        tcp: HttpConnector,
        tls: Arc<Tls>,
        /// The time limit of a connection attempt, TLS included.
        within: Duration,
    }

    type BoxError = Box<dyn StdError + Send + Sync>;

    impl Service<Uri> for Connector {
        type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
        type Error = BoxError;
        type Future = BoxFuture<'static, std::result::Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), BoxError>> {
            self.tcp.poll_ready(cx).map_err(Into::into)
        }

        #[allow(
            clippy::disallowed_methods,
            reason = "a connection belongs to the machine and its clock"
        )]
        fn call(&mut self, uri: Uri) -> Self::Future {
            let mut connector = HttpsConnector::from((self.tcp.clone(), self.tls.config()));
            connector.enforce_https();
            let connecting = tokio::time::timeout(self.within, connector.call(uri));
            Box::pin(async {
                let late =
                    |_| io::Error::new(io::ErrorKind::TimedOut, "no connection with TLS in time");
                connecting.await.map_err(late)?
            })
        }
    }

    /// Returns whether TLS is among the causes of an error.
    pub(super) fn is_caused_by_tls(error: &(dyn StdError + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<rustls::Error>() {
                return true;
            }
            // The source of an `io::Error` is the source of its content, not the content itself.
            let content = error
                .downcast_ref::<std::io::Error>()
                .and_then(|io| io.get_ref());
            next = match content {
                Some(content) => Some(content),
                None => error.source(),
            };
        }
        false
    }
}

#[cfg(not(feature = "https"))]
mod secure {
    use std::error::Error as StdError;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper_util::client::legacy::Error as ClientError;
    use wingbeat_core::tls::TlsFiles;
    use wingbeat_core::{Error, Result};

    /// The absence of TLS.
    pub(super) struct Pool;

    impl Pool {
        pub(super) fn new(_: Duration, _: TlsFiles) -> Self {
            Self
        }

        pub(super) fn prepare(&self) -> Result<()> {
            let text = "an `https` URL: this program was built without the feature `https`";
            Err(Error::retry("not_built", text))
        }

        pub(super) async fn send(
            &self,
            _: Request<Full<Bytes>>,
        ) -> Result<Result<Response<Incoming>, ClientError>> {
            self.prepare()?;
            unreachable!("`prepare` never succeeds without TLS")
        }
    }

    pub(super) fn is_caused_by_tls(_: &(dyn StdError + 'static)) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(url: &str) -> &'static str {
        let uri: Uri = url.parse().expect("it is a URI");
        is_secure(&uri).expect_err("it is refused").code()
    }

    #[test]
    fn only_urls_whose_parts_are_all_used_are_taken() {
        assert_eq!(code("http://user:password@a/"), "bad_request");
        assert_eq!(code("ftp://a/"), "bad_request");
        assert_eq!(code("/path"), "bad_request");
        assert!(is_secure(&"https://a".parse().expect("a URI")).expect("it is taken"));
        assert!(!is_secure(&"http://a".parse().expect("a URI")).expect("it is taken"));
    }
}
