//! Converts spans of `tracing` to spans of OTLP.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use wingbeat_core::TraceParent;

use super::queue::{Queue, Record as Queueable};
use super::resource::{Value, attribute, resource, scope};
use super::{Signal, metric};
use crate::telemetry::SPANS;

/// An ended span and its service.
pub(super) struct Ended {
    pub(super) service: String,
    pub(super) span: Span,
}

impl Queueable for Ended {
    const SIGNAL: Signal = Signal::Traces;
    const COUNTER: &'static str = metric::SPANS;

    fn size(&self) -> usize {
        self.span.encoded_len()
    }

    /// Groups the spans by service: a process may run several.
    fn request(batch: Vec<Self>, _: &str) -> Vec<u8> {
        let mut by_service = BTreeMap::<String, Vec<Span>>::new();
        for Self { service, span } in batch {
            by_service.entry(service).or_default().push(span);
        }
        let resource_spans = by_service
            .into_iter()
            .map(|(service, spans)| ResourceSpans {
                resource: Some(resource(&service)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            });
        let resource_spans = resource_spans.collect();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

/// A layer that exports Wingbeat's spans, and ignores all others.
#[derive(Clone)]
pub struct Spans {
    queue: Queue<Ended>,
}

impl Spans {
    pub(super) fn new(queue: Queue<Ended>) -> Self {
        Self { queue }
    }

    /// Returns the layer for a subscriber.
    pub fn layer<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = |of: &Metadata<'_>| of.is_span() && of.target() == SPANS;
        let ours = filter_fn(ours).with_max_level_hint(LevelFilter::INFO);
        self.with_filter(ours)
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut open = Open::new(attributes.metadata().name());
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        self.queue.offer(open.end());
    }
}

/// A span that has not ended.
struct Open {
    service: String,
    span: Span,
}

impl Open {
    fn new(name: &str) -> Self {
        let span = Span {
            name: name.into(),
            start_time_unix_nano: now(),
            ..Span::default()
        };
        Self {
            service: String::new(),
            span,
        }
    }

    fn end(self) -> Ended {
        let Self { service, mut span } = self;
        span.end_time_unix_nano = now();
        Ended { service, span }
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.span.attributes.push(attribute(field.name(), value));
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "service.name" => self.service = text,
            "otel.name" => self.span.name = text,
            "otel.kind" => self.span.kind = kind(&text).into(),
            "otel.status_code" => {
                self.span.status = Some(Status {
                    code: StatusCode::Error.into(),
                    ..Status::default()
                });
            }
            "wingbeat.links" => self.span.links = text.split(' ').filter_map(link).collect(),
            _ => self.put(field, Value::StringValue(text)),
        }
    }
}

/// Converts the text of a `traceparent` to a link.
fn link(parent: &str) -> Option<Link> {
    let parent: TraceParent = parent.parse().ok()?;
    Some(Link {
        trace_id: parent.trace_id().to_be_bytes().into(),
        span_id: parent.span_id().to_be_bytes().into(),
        ..Link::default()
    })
}

/// The time of the machine, in nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn kind(name: &str) -> SpanKind {
    match name {
        "server" => SpanKind::Server,
        "client" => SpanKind::Client,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

impl Visit for Open {
    fn record_u128(&mut self, field: &Field, value: u128) {
        match field.name() {
            "trace" => self.span.trace_id = value.to_be_bytes().into(),
            _ => self.text(field, value.to_string()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "span" => self.span.span_id = value.to_be_bytes().into(),
            "parent" => self.span.parent_span_id = value.to_be_bytes().into(),
            _ => self.put(
                field,
                Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
            ),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::IntValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::BoolValue(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::DoubleValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}
