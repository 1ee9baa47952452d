//! The connections of a server. Their number is limited: clients that hold connections and do not
//! use them make room for others.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};
use wingbeat_core::HashMap;

use crate::runtime::Descriptors;

/// The limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of connections. When it is reached, a new one takes the place of the one
    /// that has been idle for the longest time. Then of the oldest response that takes longer than
    /// [`patience`](Self::patience), such as a stream, which its client can resume. Then of an
    /// address that has more than half of all. If there is none, the new one is refused.
    pub connections: usize,
    /// The time after which a response no longer protects its connection.
    pub patience: Duration,
    /// The longest wait for a client that does not read its response.
    pub write_timeout: Duration,
    /// The longest wait for the body of a request. It is shorter than the usual time for an answer,
    /// 25 s, so that the caller learns that its body was slow and not the answer.
    pub body_timeout: Duration,
}

impl Limits {
    /// Returns the limits that suit the file descriptors of this process. Half of them stay for the
    /// process itself.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            connections: Descriptors::of_process().clients,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            patience: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(20),
        }
    }
}

/// The open connections of a server.
pub(super) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    peer: IpAddr,
    /// `true` while a request is answered.
    busy: bool,
    /// The time of the last change of `busy`.
    since: Instant,
    closing: Arc<Notify>,
}

/// An open connection. Dropping it makes room for another one.
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    closing: Arc<Notify>,
}

/// A request that is being answered, until its response has been handed over.
pub(super) struct Answering {
    connections: Arc<Connections>,
    number: u64,
}

#[allow(clippy::disallowed_methods, reason = "the connections of real sockets")]
fn now() -> Instant {
    Instant::now()
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a place for a new connection. Closes another one if there is no other place; `None`
    /// if all of them are in use.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut open = self.lock();
        if open.entries.len() >= self.limits.connections {
            let number = open.dispensable(peer, self.limits.patience)?;
            open.close(number);
        }
        open.last += 1;
        let (number, closing) = (open.last, Arc::<Notify>::default());
        let entry = Entry {
            peer,
            busy: false,
            since: now(),
            closing: Arc::clone(&closing),
        };
        open.entries.insert(number, entry);
        drop(open);
        Some(Place {
            connections: Arc::clone(self),
            number,
            closing,
        })
    }

    /// Closes an idle connection, because the process is out of file descriptors.
    pub(super) fn shed(&self) {
        let mut open = self.lock();
        if let Some(number) = open.longest(|entry| !entry.busy) {
            open.close(number);
        }
    }

    fn set_busy(&self, number: u64, busy: bool) {
        if let Some(entry) = self.lock().entries.get_mut(&number) {
            (entry.busy, entry.since) = (busy, now());
        }
    }
}

impl Open {
    fn close(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            entry.closing.notify_one();
        }
    }

    /// Returns the connection that makes room for a new one of `peer`.
    fn dispensable(&self, peer: IpAddr, patience: Duration) -> Option<u64> {
        let now = now();
        self.longest(|entry| !entry.busy)
            .or_else(|| self.longest(|entry| now - entry.since >= patience))
            .or_else(|| {
                let greedy = self.greedy().filter(|greedy| *greedy != peer)?;
                self.longest(|entry| entry.peer == greedy)
            })
    }

    /// Returns the connection that has been in its state for the longest time.
    fn longest(&self, of: impl Fn(&Entry) -> bool) -> Option<u64> {
        let entries = self.entries.iter().filter(|(_, entry)| of(entry));
        let longest = entries.min_by_key(|(number, entry)| (entry.since, **number));
        longest.map(|(number, _)| *number)
    }

    /// Returns the address that has more than half of all connections.
    fn greedy(&self) -> Option<IpAddr> {
        let mut counts = HashMap::<IpAddr, usize>::default();
        for entry in self.entries.values() {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let half = self.entries.len() / 2;
        most.filter(|(_, count)| *count > half)
            .map(|(peer, _)| peer)
    }
}

impl Place {
    /// Marks the connection as busy until the returned value is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.connections.set_busy(self.number, true);
        Answering {
            connections: Arc::clone(&self.connections),
            number: self.number,
        }
    }

    /// Waits until the connection must make room for another one.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.number);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.connections.set_busy(self.number, false);
    }
}

/// The body of a response. Its connection is busy until it has been handed over.
pub(super) struct Counted<B> {
    body: B,
    _answering: Answering,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, answering: Answering) -> Self {
        Self {
            body,
            _answering: answering,
        }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that fails when its peer does not take the bytes that are written to it.
pub(super) struct Impatient<S> {
    stream: S,
    timeout: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            timeout,
            waiting: None,
        }
    }

    /// Fails a write that has waited too long.
    #[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
    fn limit<T>(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = None;
            return wrote;
        }
        let timeout = self.timeout;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.limit(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.limit(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limit(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn connections(count: usize, patience: Duration) -> Arc<Connections> {
        Connections::new(Limits {
            connections: count,
            patience,
            ..Limits::default()
        })
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_open(place: &Place) -> bool {
        place.connections.lock().entries.contains_key(&place.number)
    }

    #[test]
    fn the_connection_that_was_idle_longest_makes_room() {
        let connections = connections(3, HOUR);
        let admit = || connections.admit(peer(1)).expect("there is a place");
        let places = [admit(), admit(), admit()];
        let answering = places[0].answering();
        let newest = admit();
        let open = places.each_ref().map(is_open);
        assert_eq!(open, [true, false, true], "the first one is busy");
        let closing = places[1].closing().now_or_never();
        assert!(closing.is_some(), "the connection is asked to close");
        drop(answering);
        let _newer = admit();
        let open = [is_open(&places[0]), is_open(&places[2]), is_open(&newest)];
        assert_eq!(
            open,
            [true, false, true],
            "the first one was busy until now"
        );
    }

    #[test]
    fn a_long_response_makes_room_only_if_no_connection_is_idle() {
        let connections = connections(2, Duration::ZERO);
        let admit = || connections.admit(peer(1)).expect("a place");
        let (stream, idle) = (admit(), admit());
        let _streaming = stream.answering();
        let other = admit();
        assert!(is_open(&stream) && !is_open(&idle));
        let _busy = other.answering();
        let _third = admit();
        assert!(!is_open(&stream) && is_open(&other));
    }

    #[test]
    fn a_new_connection_is_refused_if_all_are_busy() {
        let connections = connections(2, HOUR);
        let admit = || connections.admit(peer(1));
        let places = [admit(), admit()].map(|place| place.expect("a place"));
        let busy = places.each_ref().map(Place::answering);
        assert!(admit().is_none());
        drop(busy);
        assert!(admit().is_some());
    }

    #[test]
    fn an_address_with_more_than_half_makes_room_for_others() {
        let connections = connections(3, HOUR);
        let admit = |of| connections.admit(peer(of));
        let places = [1, 1, 2].map(|of| admit(of).expect("a place"));
        let busy: Vec<_> = places.iter().map(Place::answering).collect();
        assert!(admit(1).is_none());
        let other = admit(3).expect("the greedy address makes room");
        let _busy = (busy, other.answering());
        assert!(admit(4).is_none(), "nobody has more than half");
    }

    #[tokio::test]
    async fn a_write_that_is_not_taken_fails() {
        use tokio::io::AsyncWriteExt as _;
        let (ours, theirs) = tokio::io::duplex(16);
        let mut ours = Impatient::new(ours, Duration::from_millis(20));
        let failed = ours.write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
