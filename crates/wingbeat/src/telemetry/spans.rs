//! The spans, as `tracing` spans with the target [`SPANS`].
//!
//! - A span is built only if a subscriber enables the target. Otherwise it costs one read of a
//!   static.
//! - Its ids come from the runtime and are recorded in the fields `trace`, `span` and `parent`.
//!   Messages, timers and calls store these ids, so the subscriber must not assign others.
//! - Spans are not nested for `tracing`: that would keep a handler's span open until its commit is
//!   durable.
//! - Names follow OpenTelemetry's conventions for HTTP and messaging. Layers for OpenTelemetry read
//!   `otel.name`, `otel.kind` and `otel.status_code`.

use std::fmt;

use tracing::field::Empty;
use tracing::{Level, Span, info_span, span_enabled};
use wingbeat_core::outgoing;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{CorrelationId, Envelope, Kind, Name, TraceParent, Unit};

use super::{Context, current};

type Done = Box<dyn FnOnce(Outcome) + Send>;

/// The target of all spans. Enable it in a filter to receive them.
pub const SPANS: &str = "wingbeat.spans";

/// A message and its subscription.
pub(crate) struct Handled<'a> {
    pub(crate) service: Name,
    pub(crate) queue: Name,
    pub(crate) message: &'a Envelope,
    /// The other messages of its batch.
    pub(crate) others: Vec<&'a Envelope>,
    /// The messaging system that delivered it.
    pub(crate) system: &'static str,
    /// Set for a timer, which comes from the store.
    pub(crate) timer: bool,
}

/// The links of a span. OpenTelemetry keeps no more by default.
const LINKS_MAX: usize = 128;

/// The spans that published the other messages of a batch.
fn links(others: &[&Envelope]) -> Option<String> {
    let published = others.iter().filter_map(|it| it.traceparent);
    let links: Vec<_> = published.take(LINKS_MAX).map(|it| it.to_string()).collect();
    (!links.is_empty()).then(|| links.join(" "))
}

/// A span for handling one delivery with all attempts, or one attempt at a batch, until its unit is
/// staged. That of a batch belongs to the trace of its first message, and links to the others.
pub(crate) fn handling(it: &Handled<'_>, trace: TraceParent) -> Span {
    if !trace.is_sampled() {
        return Span::none();
    }
    let message = it.message;
    let count = (!it.others.is_empty()).then(|| it.others.len() as u64 + 1);
    let (kind, verb, what) = if it.timer {
        ("internal", "timer", &*message.kind)
    } else {
        ("consumer", "process", it.queue.as_str())
    };
    info_span!(
        target: SPANS, parent: None, "process",
        otel.name = format_args!("{verb} {what}"), otel.kind = kind, otel.status_code = Empty,
        trace = trace.trace_id(), span = trace.span_id(),
        parent = message.traceparent.map(TraceParent::span_id),
        service.name = it.service.as_str(),
        messaging.system = it.system,
        messaging.operation.name = verb, "messaging.operation.type" = "process",
        messaging.destination.name = it.queue.as_str(),
        messaging.message.id = %message.id,
        messaging.message.conversation_id = %message.correlation,
        messaging.message.body.size = message.body.len(),
        "wingbeat.message.type" = &*message.kind,
        "messaging.batch.message_count" = count, "wingbeat.links" = links(&it.others),
        "error.type" = Empty, wingbeat.outcome = Empty,
    )
}

/// A span for work that no message caused: an HTTP command, a scheduled handler, a unit of its own.
pub(crate) fn unit_span(
    name: fmt::Arguments<'_>,
    service: Name,
    trace: TraceParent,
    parent: Option<TraceParent>,
) -> Span {
    if !trace.is_sampled() {
        return Span::none();
    }
    info_span!(
        target: SPANS, parent: None, "work",
        otel.name = name, otel.kind = "internal", otel.status_code = Empty,
        trace = trace.trace_id(), span = trace.span_id(), parent = parent.map(TraceParent::span_id),
        service.name = service.as_str(),
        "error.type" = Empty,
    )
}

/// Wraps `done` in a span from staging to the commit, which then adds the spans of its messages.
pub(crate) fn committing(system: &'static str, unit: &Unit, done: Done) -> Done {
    if !span_enabled!(target: SPANS, Level::INFO) {
        return done;
    }
    let Some(context) = current().filter(|it| it.trace.is_sampled()) else {
        return done;
    };
    let trace = context.trace.child_of_id(unit.id.0);
    let span = info_span!(
        target: SPANS, parent: None, "commit",
        otel.name = "commit", otel.kind = "internal",
        trace = trace.trace_id(), span = trace.span_id(), parent = context.trace.span_id(),
        service.name = unit.service.as_str(),
        wingbeat.unit.id = %unit.id, wingbeat.unit.messages = unit.messages.len(),
        wingbeat.outcome = Empty,
    );
    let messages = unit.messages.clone();
    Box::new(move |outcome| {
        span.record("wingbeat.outcome", outcome.as_str());
        if outcome == Outcome::Committed {
            for message in &messages {
                drop(publishing(system, message, context));
            }
        }
        drop(span);
        done(outcome);
    })
}

/// A span for publishing a message: the parent of the spans that handle it.
fn publishing(system: &'static str, message: &Envelope, context: Context) -> Option<Span> {
    let trace = message.traceparent?;
    Some(info_span!(
        target: SPANS, parent: None, "publish",
        otel.name = format_args!("publish {}", message.kind), otel.kind = "producer",
        trace = trace.trace_id(), span = trace.span_id(), parent = context.trace.span_id(),
        service.name = &*message.source,
        messaging.system = system,
        messaging.operation.name = "publish", "messaging.operation.type" = "create",
        messaging.destination.name = &*message.kind,
        messaging.message.id = %message.id,
        messaging.message.conversation_id = %message.correlation,
        messaging.message.body.size = message.body.len(),
        wingbeat.message.role = role(message),
    ))
}

fn role(message: &Envelope) -> &'static str {
    match message.role {
        Kind::Event => "event",
        Kind::Command => "command",
    }
}

/// Spans for sending messages from the outbox to the broker. `now` makes the ids of each attempt
/// unique.
pub(crate) fn sending(system: &'static str, messages: &[Envelope], now: u64) -> Vec<Span> {
    if !span_enabled!(target: SPANS, Level::INFO) {
        return Vec::new();
    }
    messages
        .iter()
        .map(|message| sent(system, message, now))
        .collect()
}

fn sent(system: &'static str, message: &Envelope, now: u64) -> Span {
    let Some(parent) = message.traceparent.filter(|it| it.is_sampled()) else {
        return Span::none();
    };
    let span = now ^ parent.span_id().rotate_left(32);
    info_span!(
        target: SPANS, parent: None, "send",
        otel.name = format_args!("send {}", message.kind), otel.kind = "client",
        otel.status_code = Empty,
        trace = parent.trace_id(), span = span, parent = parent.span_id(),
        service.name = &*message.source,
        messaging.system = system,
        messaging.operation.name = "send", "messaging.operation.type" = "send",
        messaging.destination.name = &*message.kind,
        messaging.message.id = %message.id,
        messaging.message.conversation_id = %message.correlation,
        "error.type" = Empty,
    )
}

/// An outside call and its target.
pub(crate) struct Called<'a> {
    pub(crate) service: Name,
    pub(crate) target: &'a str,
    pub(crate) name: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) attempts: u32,
    pub(crate) correlation: CorrelationId,
    /// The span that recorded the call.
    pub(crate) parent: Option<TraceParent>,
}

/// A span for one attempt at an outside call.
pub(crate) fn calling(call: &Called<'_>, trace: TraceParent) -> Span {
    if !trace.is_sampled() {
        return Span::none();
    }
    info_span!(
        target: SPANS, parent: None, "call",
        otel.name = format_args!("call {}", call.name), otel.kind = "client", otel.status_code = Empty,
        trace = trace.trace_id(), span = trace.span_id(),
        parent = call.parent.map(TraceParent::span_id),
        service.name = call.service.as_str(),
        peer.service = call.target,
        messaging.message.conversation_id = %call.correlation,
        wingbeat.call.name = call.name, wingbeat.call.operation = call.operation,
        wingbeat.call.attempt = call.attempts,
        http.request.method = Empty, url.path = Empty, http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// A span for an incoming HTTP request.
pub fn requested(
    service: &str,
    request: &http::request::Parts,
    trace: TraceParent,
    parent: Option<TraceParent>,
) -> Span {
    if !trace.is_sampled() {
        return Span::none();
    }
    info_span!(
        target: SPANS, parent: None, "request",
        otel.name = request.method.as_str(), otel.kind = "server", otel.status_code = Empty,
        trace = trace.trace_id(), span = trace.span_id(), parent = parent.map(TraceParent::span_id),
        service.name = service,
        http.request.method = request.method.as_str(), url.path = request.uri.path(),
        http.response.status_code = Empty, "error.type" = Empty,
    )
}

/// A span for one attempt to forward an HTTP request to `upstream`.
pub fn asking(
    service: &str,
    upstream: &str,
    request: &http::request::Parts,
    trace: TraceParent,
    parent: TraceParent,
) -> Span {
    if !trace.is_sampled() {
        return Span::none();
    }
    info_span!(
        target: SPANS, parent: None, "ask",
        otel.name = format_args!("{} {upstream}", request.method), otel.kind = "client",
        otel.status_code = Empty,
        trace = trace.trace_id(), span = trace.span_id(), parent = parent.span_id(),
        service.name = service,
        peer.service = upstream,
        http.request.method = request.method.as_str(), url.path = request.uri.path(),
        http.response.status_code = Empty, "error.type" = Empty,
    )
}

/// Records the status of an HTTP response on its span.
pub fn record_status(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Records the error of one attempt on the current span. The span is not marked as failed, since
/// the next attempt may succeed.
pub(crate) fn failed(code: &str) {
    Span::current().record("error.type", code);
}

/// Records an error on a span, and marks it as failed.
pub fn failed_on(span: &Span, code: &str) {
    span.record("error.type", code);
    span.record("otel.status_code", "ERROR");
}

/// Records on the current span that a message was parked or dead-lettered.
pub(crate) fn ended(how: &str) {
    let span = Span::current();
    span.record("wingbeat.outcome", how);
    span.record("otel.status_code", "ERROR");
}

/// Records an outside HTTP request on the span of its call.
pub(crate) fn record_request(request: &outgoing::Request) {
    let after = request.url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after.find('/').map_or("/", |at| &after[at..]);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let span = Span::current();
    span.record("http.request.method", request.method);
    span.record("url.path", path);
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn span_of(traceparent: &str) -> Span {
        let parent: TraceParent = traceparent.parse().expect("a valid traceparent");
        let name = format_args!("a unit");
        unit_span(name, Name::new("orders"), parent.child(7), Some(parent))
    }

    #[test]
    fn spans_are_built_only_if_enabled_and_sampled() {
        let wanted = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        // Another test of this process may have set a subscriber for all of them.
        let nobody = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(nobody, || {
            assert!(span_of(wanted).is_disabled(), "no subscriber");
        });
        let listening = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer());
        tracing::subscriber::with_default(listening, || {
            assert!(!span_of(wanted).is_disabled());
            assert!(span_of(&wanted.replace("-01", "-00")).is_disabled());
        });
    }
}
