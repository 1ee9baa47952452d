//! The context of the work that the current task is doing.

use std::cell::Cell;
use std::pin::Pin;
use std::task::Poll;

use tracing::Span;
use wingbeat_core::{CorrelationId, Envelope, MessageId, TraceParent};

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// The trace, correlation id and causation id of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The span of the work.
    pub trace: TraceParent,
    /// The correlation id, if it is known.
    pub correlation: Option<CorrelationId>,
    /// The id of the message that is being handled. It is the causation id of the work's effects.
    pub causation: Option<MessageId>,
}

/// Returns the context of the current task's work, if any.
#[must_use]
pub fn current() -> Option<Context> {
    CURRENT.get()
}

/// Replaces the correlation id of the current work.
pub(crate) fn correlate(story: CorrelationId) {
    if let Some(context) = CURRENT.get() {
        CURRENT.set(Some(Context {
            correlation: Some(story),
            ..context
        }));
    }
}

impl Context {
    /// Creates the context of a span without message and correlation id.
    #[must_use]
    pub fn at(trace: TraceParent) -> Self {
        Self {
            trace,
            correlation: None,
            causation: None,
        }
    }

    /// Creates the context for handling a message in a span with this id. Without a trace of its
    /// own, the message gets one that is derived from its correlation id.
    #[must_use]
    pub fn of(message: &Envelope, span: u64) -> Self {
        Self {
            trace: parent_of(message).child(span),
            correlation: Some(message.correlation),
            causation: Some(message.id),
        }
    }

    /// Calls a function in this context.
    #[cfg(feature = "http")]
    pub(crate) fn enter<T>(self, work: impl FnOnce() -> T) -> T {
        let _turn = Turn {
            before: CURRENT.replace(Some(self)),
        };
        work()
    }

    /// Runs a future in this context and span.
    pub fn run<F: Future + Unpin>(self, span: Span, work: F) -> Within<F> {
        let context = self;
        Within {
            context,
            span,
            work,
        }
    }
}

/// Returns the span that published the message, or the root of a trace derived from its correlation
/// id.
fn parent_of(message: &Envelope) -> TraceParent {
    let own = || TraceParent::of(message.correlation.0);
    message.traceparent.unwrap_or_else(own)
}

/// A future that runs in a context. It takes boxed futures, to avoid copying large ones.
#[must_use = "nothing happens until it is awaited"]
pub struct Within<F> {
    context: Context,
    span: Span,
    work: F,
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let turn = Turn {
            before: CURRENT.replace(Some(this.context)),
        };
        let polled = this.span.in_scope(|| Pin::new(&mut this.work).poll(cx));
        this.context = CURRENT.get().unwrap_or(this.context);
        drop(turn);
        if polled.is_ready() {
            this.span = Span::none(); // Ends the span now, not when `self` is dropped.
        }
        polled
    }
}

/// Restores the previous context when dropped, also after a panic.
struct Turn {
    before: Option<Context>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn context(story: u128) -> Context {
        Context::at(TraceParent::of(Uuid::from_u128(story)))
    }

    #[test]
    fn each_task_has_its_own_context() {
        let (one, two) = (context(1), context(2));
        let task = |context: Context| {
            let work = async move {
                for _ in 0..3 {
                    assert_eq!(current(), Some(context));
                    yield_once().await;
                }
            };
            context.run(Span::none(), Box::pin(work))
        };
        let both = futures_util::future::join(task(one), task(two));
        let mut both = std::pin::pin!(both);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while both.as_mut().poll(&mut cx).is_pending() {
            assert_eq!(current(), None, "no context between two polls");
        }
    }

    #[test]
    fn a_correlation_id_set_during_the_work_is_kept() {
        let story = CorrelationId(Uuid::from_u128(9));
        let work = async {
            correlate(story);
            yield_once().await;
            assert_eq!(current().and_then(|it| it.correlation), Some(story));
        };
        let mut work = context(1).run(Span::none(), Box::pin(work));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while work.poll_unpin(&mut cx).is_pending() {}
    }

    #[test]
    fn a_panic_restores_the_context() {
        let work = async { panic!("a planned panic") };
        let within = context(1).run(Span::none(), Box::pin(work));
        let caught = std::panic::AssertUnwindSafe(within).catch_unwind();
        assert!(
            caught
                .now_or_never()
                .is_some_and(|it: Result<(), _>| it.is_err())
        );
        assert_eq!(current(), None);
    }

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
