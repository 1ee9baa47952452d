//! What is told of the work while it goes on: which trace it belongs to, its spans, and its log
//! lines.
//!
//! - [`context`](mod@context): what this task is handling now. Costs nothing but a copy of a few
//!   words; logs, problems and outgoing requests read it.
//! - `spans`: the spans, as `tracing` knows them, under the target [`SPANS`]. Nothing of them is
//!   built unless somebody listens to that target.
//! - [`json`], [`text`]: log lines, with the ids of what is being handled.
//! - `otlp` (feature): sends the spans to a collector.

pub mod context;
pub mod json;
pub(crate) mod meters;
#[cfg(feature = "otlp")]
pub mod otlp;
mod spans;
pub mod text;

pub use context::{Context, Within, current};
pub use spans::{SPANS, answered, asking, failed_on, requested};

pub(crate) use spans::{
    Called, Handled, calling, committing, ended, failed, handling, outside, sending, working,
};
