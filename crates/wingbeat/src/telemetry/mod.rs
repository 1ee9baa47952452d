//! Traces, spans and log lines.
//!
//! - [`context`](mod@context): the ids of the current work, for logs, problems and outgoing
//!   requests. A context is a copy of a few words.
//! - `spans`: the spans, under the target [`SPANS`]. They are only built if a
//!   subscriber enables that target.
//! - [`json`], [`text`]: log lines with the ids of the current work.
//! - `otlp` (feature): sends spans, log records and metrics to a collector.
//! - [`metrics`]: the crate with which a program records metrics of its own. `/metrics` on the
//!   operator's port shows them with those of the framework.
//!
//! ```
//! use wingbeat::telemetry::metrics::{counter, histogram};
//!
//! counter!("orders_paid_total", "currency" => "EUR").increment(1);
//! histogram!("payment_duration_seconds").record(0.25);
//! ```

pub mod context;
pub mod json;
pub(crate) mod meters;
#[cfg(feature = "otlp")]
pub mod otlp;
mod spans;
pub mod text;

pub use context::{Context, Within, current};
pub use metrics;
pub use spans::{SPANS, asking, failed_on, record_status, requested};
pub use wingbeat_core::{LogLimit, LogLimits};

pub(crate) use spans::{
    Called, Handled, calling, committing, ended, failed, handling, record_request, sending,
    unit_span,
};
