//! Log lines for people, each with the trace that it belongs to.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::current;

/// The lines of `tracing-subscriber`, and `trace_id` where something is being handled.
#[derive(Debug)]
pub struct TextLines {
    format: Format,
}

impl TextLines {
    /// With colours or without.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self {
            format: Format::default().with_ansi(colours),
        }
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(context) = current() else {
            return self.format.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.format
            .format_event(ctx, Writer::new(&mut line), event)?;
        let trace = context.trace.trace_id();
        writeln!(
            writer,
            "{} trace_id={trace:032x}",
            line.trim_end_matches('\n')
        )
    }
}
