//! Converts events of `tracing` to log records of OTLP.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use prost::Message as _;
use serde_json::Value as Json;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::layer::now;
use super::queue::{Queue, Record};
use super::resource::{Value, attribute, resource};
use super::{Signal, metric};
use crate::telemetry::current;
use crate::telemetry::json::fields;

/// The prefixes of targets whose events are not exported: sending them would cause more of them.
const OF_EXPORT: [&str; 3] = ["hyper", "h2", "rustls"];

/// A log record and its target.
pub(super) struct Logged {
    target: String,
    record: LogRecord,
}

impl Record for Logged {
    const SIGNAL: Signal = Signal::Logs;
    const COUNTER: &'static str = metric::LOG_RECORDS;

    fn size(&self) -> usize {
        self.record.encoded_len()
    }

    /// Groups the records by target, which is their scope.
    fn request(batch: Vec<Self>, service: &str) -> Vec<u8> {
        let mut by_target = BTreeMap::<String, Vec<LogRecord>>::new();
        for Self { target, record } in batch {
            by_target.entry(target).or_default().push(record);
        }
        let scope_logs = by_target.into_iter().map(|(name, log_records)| ScopeLogs {
            scope: Some(InstrumentationScope {
                name,
                ..InstrumentationScope::default()
            }),
            log_records,
            ..ScopeLogs::default()
        });
        let resource_logs = vec![ResourceLogs {
            resource: Some(resource(service)),
            scope_logs: scope_logs.collect(),
            ..ResourceLogs::default()
        }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec()
    }
}

/// A layer that exports events as log records. They have what a line of
/// [`JsonLines`](crate::telemetry::json::JsonLines) has, and nothing else. Give it the filter of
/// the lines. Events of the HTTP client that sends them are left out.
#[derive(Clone)]
pub struct LogRecords {
    queue: Queue<Logged>,
}

impl LogRecords {
    pub(super) fn new(queue: Queue<Logged>) -> Self {
        Self { queue }
    }

    /// Returns the layer for a subscriber.
    pub fn layer<S: Subscriber>(self) -> impl Layer<S> {
        self
    }
}

impl<S: Subscriber> Layer<S> for LogRecords {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (target, fields) = fields(event);
        if OF_EXPORT.iter().any(|it| target.starts_with(it)) {
            return;
        }
        let record = record(*event.metadata().level(), fields);
        self.queue.offer(Logged { target, record });
    }
}

fn record(level: Level, mut fields: serde_json::Map<String, Json>) -> LogRecord {
    let at = now();
    let body = fields.remove("message").and_then(value);
    let attributes = fields.into_iter();
    let mut attributes: Vec<KeyValue> = attributes
        .filter_map(|(name, it)| Some(attribute(&name, value(it)?)))
        .collect();
    let mut record = LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity(level).into(),
        severity_text: level.as_str().into(),
        body: body.map(|it| AnyValue { value: Some(it) }),
        ..LogRecord::default()
    };
    if let Some(context) = current() {
        let trace = context.trace;
        record.trace_id = trace.trace_id().to_be_bytes().into();
        record.span_id = trace.span_id().to_be_bytes().into();
        record.flags = u32::from(trace.is_sampled());
        let ids = [
            (
                "correlation_id",
                context.correlation.map(|it| it.to_string()),
            ),
            ("causation_id", context.causation.map(|it| it.to_string())),
        ];
        let ids = ids.into_iter();
        let ids = ids.filter_map(|(name, id)| Some(attribute(name, Value::StringValue(id?))));
        attributes.extend(ids);
    }
    record.attributes = attributes;
    record
}

/// Returns the least severity of a level.
fn severity(level: Level) -> SeverityNumber {
    match level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    }
}

/// Converts the value of a field; `None` for a number that is not finite.
fn value(field: Json) -> Option<Value> {
    Some(match field {
        Json::Null => return None,
        Json::Bool(it) => Value::BoolValue(it),
        Json::String(it) => Value::StringValue(it),
        Json::Number(it) => match (it.as_i64(), it.as_f64()) {
            (Some(whole), _) => Value::IntValue(whole),
            (None, Some(it)) => Value::DoubleValue(it),
            (None, None) => Value::StringValue(it.to_string()),
        },
        other => Value::StringValue(other.to_string()),
    })
}
