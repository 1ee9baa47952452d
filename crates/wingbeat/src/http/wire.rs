//! The bytes of a connection: refusals of unreadable requests as problems, and a close that does
//! not destroy the last response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::problem::Problem;

/// The longest wait for the client's end of a connection on which it still sends.
const LINGER: Duration = Duration::from_secs(2);
/// The most bytes that are read and discarded during this wait.
const LINGER_BYTES: usize = 16 << 20;

/// Notes that the client may still send bytes that nobody reads. Closing a socket with unread bytes
/// resets the connection, and the client may lose the last response.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Lets the connection linger when it is closed.
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection with a client.
///
/// hyper refuses a request that it cannot parse with a bare status. `Wire` gives these refusals the
/// body of a problem. All responses of routes have a content type or no error status, so they are
/// never taken for one.
pub(super) struct Wire<S> {
    stream: S,
    unread: Unread,
    /// A refusal that is being written, and the number of its bytes that were.
    refusal: Option<(Vec<u8>, usize)>,
    linger: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, unread: Unread) -> Self {
        Self {
            stream,
            unread,
            refusal: None,
            linger: None,
            discarded: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            let Some(refusal) = refusal(bytes) else {
                return Pin::new(&mut self.stream).poll_write(context, bytes);
            };
            self.unread.mark();
            self.refusal = Some((refusal, 0));
        }
        let Self {
            stream, refusal, ..
        } = &mut *self;
        if let Some((refusal, written)) = refusal {
            while *written < refusal.len() {
                let wrote = Pin::new(&mut *stream).poll_write(context, &refusal[*written..]);
                match ready!(wrote)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => *written += count,
                }
            }
        }
        self.refusal = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match parts {
            // A refusal is a head alone.
            [head] => self.poll_write(context, head),
            parts => Pin::new(&mut self.stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes the sending half. If the client may still send, reads until it closes its half too.
    #[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if !self.unread.is_marked() {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let limit = this
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut scratch = [0; 8 << 10];
        while limit.as_mut().poll(context).is_pending() && this.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the problem that replaces a bare refusal; `None` for all other bytes.
fn refusal(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (status, headers) = head.split_once("\r\n")?;
    let status = status.strip_prefix("HTTP/1.")?.get(2..5)?;
    let bare = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        matches!((name, value), ("connection", "close") | ("date", _))
            || (name, value) == ("content-length", "0")
    };
    if !headers.split("\r\n").all(bare) {
        return None;
    }
    let problem = match status {
        "400" => Problem::new(400, "malformed_request", "the request is not HTTP/1.1"),
        "414" => Problem::new(414, "head_too_large", "the request target is too long"),
        "431" => Problem::new(431, "head_too_large", "the request head is over 16 KiB"),
        _ => return None,
    };
    let body = serde_json::to_vec(&problem).expect("strings and numbers always encode");
    let date = headers
        .split("\r\n")
        .find(|line| line.starts_with("date: "));
    let date = date.map_or_else(String::new, |date| format!("{date}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n{date}\r\n",
        problem.title,
        body.len()
    );
    Some([head.into_bytes(), body].concat())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn only_bare_refusals_are_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: today\r\n\r\n";
        let problem = String::from_utf8(refusal(bare).expect("it is bare")).expect("UTF-8");
        assert!(problem.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(problem.contains("date: today\r\n"), "{problem}");
        let (head, body) = problem.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(body.contains(r#""code":"head_too_large""#), "{body}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nno",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(refusal(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_written_whole_in_small_pieces() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let mut wire = Wire::new(ours, Unread::default());
        let write = async {
            let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            wire.write_all(bare).await.expect("it is written");
            wire.write_all(b"more").await.expect("it is written");
            drop(wire);
        };
        let mut read = String::new();
        let (_, count) = tokio::join!(write, theirs.read_to_string(&mut read));
        count.expect("it is read");
        assert!(read.ends_with("}more"), "{read}");
        assert!(read.contains("malformed_request"), "{read}");
    }
}
