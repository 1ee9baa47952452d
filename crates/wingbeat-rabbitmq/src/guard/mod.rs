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
//! - `methods`: makes the texts of methods readable.
//! - `properties`: checks a content header, and repairs it.

mod frames;
mod methods;
mod properties;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compat::Compat;
use futures_io::{AsyncRead, AsyncWrite};
use wingbeat_connect::BoxedStream;

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

/// A stream from the broker, with or without TLS, whose frames are checked.
pub(crate) struct Guard {
    stream: Compat<BoxedStream>,
    frames: Frames,
    read: Box<[u8]>,
}

impl Guard {
    /// Wraps a connected stream. `frame_max` is the frame size that the client requests.
    pub(crate) fn new(stream: BoxedStream, frame_max: u32) -> Self {
        Self {
            stream: Compat::new(stream),
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
