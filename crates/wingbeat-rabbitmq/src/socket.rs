//! The AMQP client on connections that the adapter opens: with TLS, and to any of several hosts.
//!
//! The client opens connections itself only with its own TLS, and repeats failed attempts on a
//! thread that outlives them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use wingbeat_connect::BoxedStream;

use crate::guard::Guard;

/// The largest frame in bytes, unless the URL sets one. The client allocates and touches buffers
/// for 32 frames in each direction of a connection; with RabbitMQ's default of 128 KiB these are 16
/// MiB per process. Longer bodies travel in several frames. Content headers do not: a message with
/// all attributes at their limits needs 36 KiB.
pub(crate) const FRAME_MAX: u32 = 64 << 10;

/// Opens an AMQP connection on a connected stream, behind a guard.
pub(crate) async fn handshake(
    uri: AMQPUri,
    properties: ConnectionProperties,
    stream: BoxedStream,
) -> lapin::Result<Connection> {
    let frame_max = uri.query.frame_max.unwrap_or(FRAME_MAX);
    let stream = Mutex::new(Some(Guard::new(stream, frame_max)));
    let take = async move |_: AMQPUri, _: Runtime<Kit>| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lost = || io::Error::from(io::ErrorKind::NotConnected);
        Ok(AsyncTcpStream::Plain(stream.ok_or_else(lost)?))
    };
    let runtime = Runtime::new(Kit(Tokio::current()));
    Connection::connector(uri, runtime, take, properties).await
}

/// The runtime of the client: tokio, with streams of any kind.
#[derive(Clone, Debug)]
struct Kit(Tokio);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Guard;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// The client registers no handles.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    /// The client gets its streams from [`handshake`].
    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
