//! One connection, driven by whoever uses it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, Base, Fault};

/// The longest body that is read: a page of 100 orders has some 100 KiB.
const ANSWER_MAX: usize = 16 << 20;

/// A connection and its two ends. Between requests nobody looks at it: that the server has closed it
/// is noticed before the next request is handed over.
pub(super) struct Lane {
    sender: SendRequest<Full<Bytes>>,
    wire: Wire,
}

/// The connection's own state machine.
struct Wire {
    /// `None` once it has ended. It is dropped then, and with it a request that it never looked at: that
    /// is how the request learns of the end.
    connection: Option<Connection<TokioIo<TcpStream>, Full<Bytes>>>,
}

impl Lane {
    /// Connects.
    pub(super) async fn open(base: &Base) -> Result<Self, Fault> {
        let unreachable = |source| Fault::Unreachable {
            base: base.to_string(),
            source,
        };
        let socket = TcpStream::connect(base.target()).await;
        let socket = socket.map_err(unreachable)?;
        // Requests are single writes; waiting for more only delays them.
        socket.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) = handshake(TokioIo::new(socket))
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        Ok(Self {
            sender,
            wire: Wire {
                connection: Some(connection),
            },
        })
    }

    /// Sends a request and reads the whole answer. After an error the lane is of no use.
    ///
    /// [`Fault::Unsent`]: the server had closed the connection, and nothing of the request was sent.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Fault> {
        let Self { sender, wire } = self;
        wire.drive(async {
            let response = send(sender, request).await?;
            let (head, body) = response.into_parts();
            let body = read(body).await?;
            Ok(Answer::new(head.status, &head.headers, body))
        })
        .await
    }

    /// Sends a request and returns at the head of the answer.
    pub(super) async fn begin(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Fault> {
        self.wire.drive(send(&mut self.sender, request)).await
    }

    /// The next piece of an answer that was begun; `None` at its end.
    pub(super) async fn piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
        self.wire
            .drive(async {
                while let Some(frame) = body.frame().await {
                    if let Ok(data) = frame.map_err(Fault::Cut)?.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Whether another request can go this way, as far as one can see from here.
    pub(super) fn is_open(&self) -> bool {
        self.wire.connection.is_some() && !self.sender.is_closed()
    }
}

impl Wire {
    /// Runs `work` and the connection it depends on until the work is done.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.turn(context);
            // What the connection has just read is taken at once, not after the next wake-up.
            work.as_mut().poll(context)
        })
        .await
    }

    fn turn(&mut self, context: &mut Context<'_>) {
        // How it ended is told to the work, which waits for an answer.
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

/// The whole body. Most come in one piece, which is not copied.
async fn read(body: Incoming) -> Result<Bytes, Fault> {
    match Limited::new(body, ANSWER_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(cut) => Fault::Cut(*cut),
            Err(_) => Fault::TooLong(ANSWER_MAX),
        }),
    }
}
