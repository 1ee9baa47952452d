//! What this task is handling now.

use std::cell::Cell;
use std::pin::Pin;
use std::task::Poll;

use tracing::Span;
use wingbeat_core::{CorrelationId, Envelope, MessageId, TraceParent};

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// What is being handled: its place in a trace, its story, and its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The span in which it is handled.
    pub trace: TraceParent,
    /// The story, if it has begun.
    pub correlation: Option<CorrelationId>,
    /// The message that is handled; the cause of what comes of it.
    pub causation: Option<MessageId>,
}

/// What this task is handling, if anything.
#[must_use]
pub fn current() -> Option<Context> {
    CURRENT.get()
}

/// The story of what is being handled has another name than was known at its beginning.
pub(crate) fn correlate(story: CorrelationId) {
    if let Some(context) = CURRENT.get() {
        CURRENT.set(Some(Context {
            correlation: Some(story),
            ..context
        }));
    }
}

impl Context {
    /// Of a span that handles neither a message nor a story that is known yet.
    #[must_use]
    pub fn at(trace: TraceParent) -> Self {
        Self {
            trace,
            correlation: None,
            causation: None,
        }
    }

    /// Of this message, handled in a span of these random bits. A message that comes without a
    /// trace begins one, the same for whatever else is caused by its story.
    #[must_use]
    pub fn of(message: &Envelope, span: u64) -> Self {
        Self {
            trace: parent_of(message).child(span),
            correlation: Some(message.correlation),
            causation: Some(message.id),
        }
    }

    /// The future, handled in this context and span.
    pub fn run<F: Future + Unpin>(self, span: Span, work: F) -> Within<F> {
        let context = self;
        Within {
            context,
            span,
            work,
        }
    }
}

/// Where a message comes from.
fn parent_of(message: &Envelope) -> TraceParent {
    let own = || TraceParent::of(message.correlation.0);
    message.traceparent.unwrap_or_else(own)
}

/// Work in its context. It takes what is boxed already, so that no future is copied for it.
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
            this.span = Span::none(); // It ends now, and not when this is dropped.
        }
        polled
    }
}

/// Puts back what was handled before, also when the work panics.
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
    fn each_task_sees_what_it_handles_whatever_runs_in_between() {
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
            assert_eq!(current(), None, "between the turns nobody is handled");
        }
    }

    #[test]
    fn a_story_that_is_told_while_it_runs_stays_told() {
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
    fn a_panic_leaves_nothing_behind() {
        let work = async { panic!("on purpose") };
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
