//! Log records.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::{Taking, attribute, hex, is_protobuf, locked, service};

/// A log record as it was exported. Ids are lower-case hexadecimal numbers; they are empty outside
/// of any trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Log {
    /// The name of the process.
    pub service: String,
    /// The target of the event.
    pub target: String,
    /// The severity, such as 9 for information.
    pub severity: i32,
    /// The level, such as `INFO`.
    pub level: String,
    /// The message.
    pub message: String,
    /// The id of its trace.
    pub trace: String,
    /// The id of its span.
    pub span: String,
    attributes: Vec<(String, String)>,
}

impl Log {
    fn of(service: &str, target: &str, record: LogRecord) -> Self {
        let body = record.body.and_then(|it| it.value);
        Self {
            service: service.into(),
            target: target.into(),
            severity: record.severity_number,
            level: record.severity_text,
            message: match body {
                Some(Value::StringValue(text)) => text,
                other => format!("{other:?}"),
            },
            trace: hex(&record.trace_id),
            span: hex(&record.span_id),
            attributes: record.attributes.into_iter().map(attribute).collect(),
        }
    }

    /// Returns an attribute as text; an empty text if the record lacks it.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Receives a batch.
pub(super) async fn take(
    State(taking): State<Taking>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    is_protobuf(&headers)?;
    let batch = ExportLogsServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut logs = locked(&taking.logs);
    for resource in batch.resource_logs {
        let service = service(resource.resource)?;
        for scope in resource.scope_logs {
            let target = scope.scope.unwrap_or_default().name;
            let records = scope.log_records.into_iter();
            logs.extend(records.map(|it| Log::of(&service, &target, it)));
        }
    }
    drop(logs); // A waiting test reads them at once.
    taking.count.send_modify(|count| *count += 1);
    Ok(ExportLogsServiceResponse::default().encode_to_vec())
}
