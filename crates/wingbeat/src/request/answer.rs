//! The side that answers: handlers, retries and replies of requests.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::{Class, Dialog, Envelope, Error, Kind, MessageType, Result, Timestamp};

use super::definition::{Rejection, Request, rejected_type, reply_type};
use crate::describe::RequestDescription;
use crate::effects::{Effects, Outgoing};
use crate::extract::{Arguments, ExtractAll};
use crate::handler::{Erased, Handler, Run};
use crate::unit::{Mark, Scope};
use crate::{Retry, decode, encode};

/// The time after its deadline for which a request is still handled: the clocks of two processes
/// may differ by as much.
const SKEW_MAX: Duration = Duration::from_secs(1);

/// The pauses before the attempts from the store, in milliseconds. A request whose deadline has
/// passed is not tried again.
const PAUSES: [u64; 14] = [
    250, 250, 500, 500, 1_000, 1_000, 2_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 600_000,
];

/// Returns the attempts of a request: more and sooner than those of a message, because a caller
/// waits. A policy of the handler's own stays as it is.
pub(crate) fn patience(own: Retry) -> Retry {
    let default = Retry::default();
    let shape = |it: &Retry| (it.quick, it.backoff, it.parked.clone());
    if shape(&own) != shape(&default) {
        return own;
    }
    Retry {
        parked: PAUSES.map(Duration::from_millis).into(),
        ..own
    }
}

/// The result of a handler that answers requests with the reply `R`.
#[diagnostic::on_unimplemented(
    message = "a handler cannot answer with `{Self}`",
    label = "this is what the handler returns",
    note = "return a `Result` of the request's reply, `{R}`; record effects with `Scope`"
)]
pub trait ReplyOutput<R> {
    /// Returns the reply.
    ///
    /// # Errors
    ///
    /// The error of the handler.
    fn into_reply(self) -> Result<R>;
}

impl<R, E: Into<Error>> ReplyOutput<R> for Result<R, E> {
    fn into_reply(self) -> Result<R> {
        self.map_err(Into::into)
    }
}

/// A handler that can be registered with [`Service::answer`](crate::Service::answer).
///
/// Its first argument is a request, and it returns a `Result` of the request's reply. The other
/// arguments are extractors that work with the service's state `S`.
pub trait RequestHandler<Args, S>: Handler<Args> {
    /// Returns the type of the request.
    fn request(&self) -> MessageType;
    /// Returns the description of the handler's extractors.
    fn extracts(&self) -> RequestDescription;
    /// Erases the types of the handler.
    fn erase(self, state: S) -> Erased;
}

impl<H, Args, S> RequestHandler<Args, S> for H
where
    H: Handler<Args>,
    Args: Arguments + 'static,
    Args::First: Request,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: ReplyOutput<<Args::First as Request>::Reply>,
    H::Future: Send,
    S: Clone + Send + Sync + 'static,
{
    fn request(&self) -> MessageType {
        MessageType::of::<Args::First>()
    }

    fn extracts(&self) -> RequestDescription {
        let mut extracts = RequestDescription::default();
        Args::Rest::describe(&mut extracts);
        extracts
    }

    fn erase(self, state: S) -> Erased {
        let run: Run = Arc::new(move |scope, envelope| {
            let future = decode::<Args::First>(&envelope.body).and_then(|request| {
                let rest = Args::Rest::extract_all(&scope, &state)?;
                Ok(self.call(Args::join(request, rest)))
            });
            let asked = Asked::of(&envelope, <Args::First as wingbeat_core::Message>::NAME);
            Box::pin(async move {
                if !asked.begins(&scope) {
                    return Ok(());
                }
                let mark = scope.mark()?;
                let answer = match future {
                    Ok(future) => future.await.into_reply(),
                    Err(why) => Err(why),
                };
                asked.settle(&scope, mark, answer.map(|reply| encode(&reply)))
            })
        });
        Erased { run, batch: None }
    }
}

/// A request that is being handled.
struct Asked {
    request: &'static str,
    /// The id of the request.
    id: String,
    dialog: Option<Dialog>,
}

impl Asked {
    fn of(envelope: &Envelope, request: &'static str) -> Self {
        Self {
            request,
            id: envelope.id.to_string(),
            dialog: envelope.dialog.clone(),
        }
    }

    /// Returns whether nobody waits for the reply any more.
    fn is_over(&self, now: Timestamp) -> bool {
        match &self.dialog {
            Some(Dialog::Request { deadline, .. }) => now > *deadline + SKEW_MAX,
            _ => false,
        }
    }

    /// Returns whether the handler runs. A request that comes too late is settled without it.
    fn begins(&self, scope: &Scope) -> bool {
        let is_over = self.is_over(scope.now());
        if is_over {
            let labels = [
                ("service", scope.service().name.as_str()),
                ("type", self.request),
            ];
            metrics::counter!("wingbeat_requests_expired_total", &labels).increment(1);
        }
        !is_over
    }

    /// Records the reply. A rejection takes no effect but its reply; the store validates what the
    /// handler has read. A failure that may pass is retried.
    fn settle(&self, scope: &Scope, mark: Mark, answer: Result<bytes::Bytes>) -> Result<()> {
        let replied = answer.and_then(|body| {
            let kind = reply_type(self.request);
            self.reply(scope, kind.as_str(), body)
        });
        let Err(why) = replied else { return Ok(()) };
        // Without a caller, an operator must learn of a rejection.
        if why.class() == Class::Retry || self.dialog.is_none() {
            return Err(why);
        }
        scope.rewind(mark)?;
        let rejection = Rejection {
            code: why.code().to_owned(),
            detail: why.to_string(),
        };
        let kind = rejected_type(self.request);
        self.reply(scope, kind.as_str(), encode(&rejection))
    }

    fn reply(&self, scope: &Scope, kind: &'static str, body: bytes::Bytes) -> Result<()> {
        let Some(dialog) = self.dialog.as_ref().and_then(Dialog::reply) else {
            return Ok(());
        };
        let mut effects = Effects::new();
        effects.messages.push(Outgoing {
            name: kind,
            kind: Kind::Command,
            key: self.id.clone(),
            body,
            sequence: None,
            operation: None,
            stamp: None,
            stored: false,
            dialog: Some(dialog),
        });
        scope.record(effects)
    }
}
