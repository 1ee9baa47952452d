//! Log lines for people, with the trace id of the current work.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::current;

/// Writes the lines of `tracing-subscriber`, and adds `trace_id` during work.
#[derive(Debug)]
pub struct TextLines {
    format: Format,
}

impl TextLines {
    /// Creates the format, with or without colours.
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
