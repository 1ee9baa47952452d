//! Requests that are answered before their body was read.
//!
//! The next request of a connection follows the body of the one before. A refusal that leaves the
//! body unread (401, 404, 405, 413, 415, …) would therefore end the connection without a word, and
//! a client or proxy that reuses it would meet a broken pipe. So the rest of the body is read and
//! discarded if it is small and arrives at once; otherwise the response says `Connection: close`
//! (RFC 9112, section 9.3).
//!
//! A body that does not arrive in time fails, so that its sender gets an answer that says so.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

/// The most bytes of a body that are discarded: as many as the largest body that is accepted has.
const DISCARD_MAX: u64 = 64 << 10;
/// The longest wait for the rest of a body. The response waits as long.
const DISCARD_WITHIN: Duration = Duration::from_millis(500);

/// The body of a request until it has been read.
#[derive(Default)]
enum State<B> {
    /// The handler has it.
    #[default]
    Lent,
    /// It was read to its end.
    Over,
    /// It broke off, or violates its encoding.
    Broken,
    /// The handler dropped it before its end. `true` if the handler had read a part of it.
    Returned(B, bool),
}

/// The rest of a request's body, after the handler has answered.
pub(super) struct Rest<B = Incoming> {
    state: Arc<Mutex<State<B>>>,
    /// The client sends the body only after `100 Continue`.
    expects: bool,
}

/// The error of a body that does not arrive in time.
#[derive(Debug)]
pub(super) struct TooSlow(Duration);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body did not arrive within {:?}", self.0)
    }
}

impl std::error::Error for TooSlow {}

/// Wraps the body of a request, so that it arrives within a time or fails, and that an unread rest
/// of it comes back; `None` if there is no body.
pub(super) fn lend(
    request: Request<Incoming>,
    within: Duration,
) -> (Request<axum::body::Body>, Option<Rest<Incoming>>) {
    if request.body().is_end_stream() {
        return (request.map(axum::body::Body::new), None);
    }
    let rest = Rest {
        state: Arc::default(),
        expects: request.headers().contains_key(header::EXPECT),
    };
    let state = Arc::clone(&rest.state);
    let lent = |body| Lent {
        body: Some(body),
        state,
        within,
        deadline: None,
        was_read: false,
        is_broken: false,
    };
    let request = request.map(|body| axum::body::Body::new(lent(body)));
    (request, Some(rest))
}

impl<B> Rest<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Reads the rest of the body and discards it. Returns whether the connection can carry another
    /// request.
    pub(super) async fn discard(self) -> bool {
        let state = std::mem::take(&mut *lock(&self.state));
        match state {
            State::Over => true,
            // The handler still reads it, or nobody knows where it ends.
            State::Lent | State::Broken => false,
            // Reading it would ask the client for the body.
            State::Returned(_, false) if self.expects => false,
            State::Returned(body, _) => discarded(body).await,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
async fn discarded<B>(mut body: B) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > DISCARD_MAX {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > DISCARD_MAX {
                return false;
            }
        }
        true
    };
    let read = tokio::time::timeout(DISCARD_WITHIN, reading).await;
    read.unwrap_or(false)
}

fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body that a handler reads.
struct Lent<B: Body + Unpin> {
    body: Option<B>,
    state: Arc<Mutex<State<B>>>,
    /// The longest time from the first wait for the body to its end.
    within: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    was_read: bool,
    is_broken: bool,
}

impl<B: Body + Unpin> Lent<B> {
    /// Fails a body that has not arrived in time.
    #[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
    fn late<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, BoxError>>> {
        let within = self.within;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        let over = deadline.as_mut().poll(context);
        over.map(|()| Some(Err(TooSlow(within).into())))
    }
}

impl<B> Body for Lent<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        self.was_read = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let mut polled = Pin::new(body).poll_frame(context).map_err(Into::into);
        if polled.is_pending() {
            polled = self.late(context);
        }
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.is_broken = matches!(polled, Poll::Ready(Some(Err(_))));
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<B: Body + Unpin> Drop for Lent<B> {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        *lock(&self.state) = match rest {
            Some(body) => State::Returned(body, self.was_read),
            None if self.is_broken => State::Broken,
            None => State::Over,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};

    use super::*;

    fn chunks(count: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'a'; 1024])));
        let all: Vec<_> = std::iter::repeat_with(chunk).take(count).collect();
        StreamBody::new(futures_util::stream::iter(all))
    }

    async fn after<B>(body: B, expects: bool, frames: usize) -> bool
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let state = Arc::new(Mutex::new(State::Lent));
        let rest = Rest {
            state: Arc::clone(&state),
            expects,
        };
        let mut lent = Lent {
            body: Some(body),
            state,
            within: Duration::from_secs(3_600),
            deadline: None,
            was_read: false,
            is_broken: false,
        };
        for _ in 0..frames {
            drop(lent.frame().await);
        }
        drop(lent);
        rest.discard().await
    }

    #[tokio::test]
    async fn a_small_rest_is_discarded() {
        assert!(after(chunks(3), false, 0).await);
        assert!(after(chunks(3), false, 1).await);
        assert!(after(chunks(3), false, 9).await);
        assert!(after(Full::new(Bytes::from_static(b"{}")), false, 0).await);
    }

    #[tokio::test]
    async fn a_large_rest_closes_the_connection() {
        assert!(!after(chunks(65), false, 0).await);
        let large = Full::new(Bytes::from(vec![0; (64 << 10) + 1]));
        assert!(!after(large, false, 0).await);
    }

    #[tokio::test]
    async fn a_body_that_was_not_asked_for_closes_the_connection() {
        assert!(!after(chunks(3), true, 0).await);
        assert!(after(chunks(3), true, 1).await);
    }

    #[tokio::test]
    async fn a_broken_body_closes_the_connection() {
        let broken = || {
            let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Err("no chunk")];
            StreamBody::new(futures_util::stream::iter(frames))
        };
        assert!(!after(broken(), false, 2).await);
        assert!(!after(broken(), false, 0).await);
    }

    #[tokio::test]
    async fn a_body_that_is_still_read_closes_the_connection() {
        let rest = Rest::<Full<Bytes>> {
            state: Arc::default(),
            expects: false,
        };
        assert!(!rest.discard().await);
    }
}
