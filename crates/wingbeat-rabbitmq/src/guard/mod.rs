//! A guard between the socket and the AMQP client, for what other programs publish.
//!
//! The client ends the whole connection, with all its consumers, if it receives a content header
//! that it cannot parse: a property or a header name that is not UTF-8, a type that it does not
//! know, or a frame that is longer than the negotiated size. RabbitMQ accepts all of these, and
//! delivers them unchanged and again. Tables that are nested some thousand levels deep overflow the
//! stack of the client's thread. The guard rewrites such a frame on its way: the parts that can be
//! read stay, and a header names the problem, so that the message becomes a dead letter. It also
//! cuts off bodies that are too large, before they are collected in memory.
//!
//! - `frames`: splits the stream into frames, and cuts bodies off.
//! - `properties`: checks a content header, and repairs it.

mod frames;
mod properties;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt as _, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

pub(crate) use frames::{DIGEST_BYTES, KEPT};
pub(crate) use properties::{BODY_SIZE, FAULT, RAW_PROPERTIES, RESERVED};

use frames::Frames;

/// The bytes that are read from the socket at once.
const READ_BYTES: usize = 16 << 10;

/// Returns the properties and the body as the client receives them. Feeds the guard in small
/// parts.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn checked(properties: &[u8], body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    frames::checked(properties, body)
}

/// Connects to the broker through a guard. `frame_max` is the frame size that the client requests.
pub(crate) async fn connect(
    address: AMQPUri,
    properties: ConnectionProperties,
    tls: OwnedTLSConfig,
    frame_max: u32,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(
        tokio.clone(),
        Guarded(tokio.clone(), frame_max),
    ));
    let connect = async move |address: AMQPUri, _| {
        let runtime = Runtime::new(tokio.clone());
        let stream = address.connect_with_config_async(tls.as_ref(), &runtime);
        let stream = Guard::new(stream.await.map_err(lapin::Error::from)?, frame_max);
        Ok(AsyncTcpStream::Plain(stream))
    };
    Connection::connector(address, runtime, connect, properties).await
}

/// Tokio's reactor, with guarded streams.
#[derive(Clone, Debug)]
struct Guarded(Tokio, u32);

impl Reactor for Guarded {
    type TcpStream = Guard;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Fails: the AMQP client registers no sockets of its own.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Guard, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Guard>> + Send + 'static {
        let (connecting, frame_max) = (self.0.tcp_connect_addr(address), self.1);
        async move {
            let stream = AsyncTcpStream::Plain(connecting.await?);
            Ok(Guard::new(stream, frame_max))
        }
    }
}

/// A stream from the broker, with or without TLS, whose frames are checked.
struct Guard {
    stream: AsyncTcpStream<<Tokio as Reactor>::TcpStream>,
    frames: Frames,
    read: Box<[u8]>,
}

impl Guard {
    fn new(stream: AsyncTcpStream<<Tokio as Reactor>::TcpStream>, frame_max: u32) -> Self {
        Self {
            stream,
            frames: Frames::new(frame_max),
            read: vec![0; READ_BYTES].into_boxed_slice(),
        }
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let taken = this.frames.take(buffer);
            if taken > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(taken));
            }
            match Pin::new(&mut this.stream).poll_read(cx, &mut this.read) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(count)) => this.frames.feed(&this.read[..count]),
                Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
