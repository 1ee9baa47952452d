//! A connection that its current user drives.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use wingbeat_connect::{BoxedStream, ConnectError, Tls, connect};

use super::{Answer, Base, Fault};

/// The longest body in bytes. A page of 100 orders has some 100 KiB.
const ANSWER_MAX: usize = 16 << 20;

/// The longest time to connect. A client's own limit is usually shorter.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A connection and its sender. It is not polled between requests; the next request notices if the
/// server has closed it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// The state machine of the connection, which must be polled for the connection to make progress.
struct Driver {
    /// The connection; `None` once it has ended. Dropping it drops a request that it has not read,
    /// which reports the end to the sender.
    connection: Option<http1::Connection<TokioIo<BoxedStream>, Full<Bytes>>>,
}

impl Connection {
    /// Connects to the server.
    pub(super) async fn open(base: &Base, tls: Option<&Tls>) -> Result<Self, Fault> {
        let unreachable = |source| Fault::Unreachable {
            base: base.to_string(),
            source,
        };
        let deadline = Instant::now() + CONNECT_WITHIN;
        let socket = connect(base.host(), base.default_port(), tls, deadline).await;
        let socket = socket.map_err(|why| match why {
            ConnectError::Unavailable(why) => unreachable(why),
            ConnectError::Tls(why) => unreachable(io::Error::other(format!("no TLS: {why}"))),
        })?;
        let (sender, connection) = handshake(TokioIo::new(socket))
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        Ok(Self {
            sender,
            driver: Driver {
                connection: Some(connection),
            },
        })
    }

    /// Sends a request and reads the complete reply. After an error the connection must not be used
    /// again.
    ///
    /// [`Fault::Unsent`] means that the server had closed the connection and nothing of the request
    /// was sent.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Fault> {
        let Self { sender, driver } = self;
        driver
            .run(async {
                let response = send(sender, request).await?;
                let (head, body) = response.into_parts();
                let body = read(body).await?;
                Ok(Answer::new(head.status, &head.headers, body))
            })
            .await
    }

    /// Sends a request and returns when the head of the reply arrives.
    pub(super) async fn begin(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Fault> {
        self.driver.run(send(&mut self.sender, request)).await
    }

    /// Returns the next chunk of the body; `None` at its end.
    pub(super) async fn chunk(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
        self.driver
            .run(async {
                while let Some(frame) = body.frame().await {
                    if let Ok(data) = frame.map_err(Fault::Cut)?.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Returns whether the connection is open, as far as is known without polling it.
    pub(super) fn is_open(&self) -> bool {
        self.driver.connection.is_some() && !self.sender.is_closed()
    }
}

impl Driver {
    /// Runs `work` and the connection it depends on until the work is done.
    async fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.poll(context);
            // Poll again, so that data which the connection has just read is used without another
            // wake-up.
            work.as_mut().poll(context)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        // The sender reports the end to `work`, which waits for the reply.
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(context).is_ready()
        {
            self.connection = None;
        }
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Fault> {
    sender.ready().await.map_err(|_| Fault::Unsent)?;
    let sent = sender.try_send_request(request).await;
    sent.map_err(|mut error| match error.take_message() {
        Some(_) => Fault::Unsent,
        None => Fault::Cut(error.into_error()),
    })
}

/// Reads the complete body. A body of one chunk is not copied.
async fn read(body: Incoming) -> Result<Bytes, Fault> {
    match Limited::new(body, ANSWER_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(cut) => Fault::Cut(*cut),
            Err(_) => Fault::TooLong(ANSWER_MAX),
        }),
    }
}
