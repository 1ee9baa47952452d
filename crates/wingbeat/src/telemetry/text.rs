//! Log lines for people, with the trace id of the current work.
//!
//! Log lines contain text from outside: types of messages, errors of servers. Such text must not be
//! able to end a line and forge the next one, nor to fill the disk.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::current;

/// The longest text in a log line, in bytes.
pub(crate) const TEXT_MAX: usize = 8 << 10;

/// Writes the lines of `tracing-subscriber`, escaped and bounded, and adds `trace_id` during work.
#[derive(Debug)]
pub struct TextLines {
    format: Format,
    colours: bool,
}

impl TextLines {
    /// Creates the format, with or without colours.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self {
            format: Format::default().with_ansi(colours),
            colours,
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
        let mut line = String::new();
        self.format
            .format_event(ctx, Writer::new(&mut line), event)?;
        let line = bounded(line.trim_end_matches('\n'), TEXT_MAX);
        for (at, c) in line.char_indices() {
            if is_safe(c) || (self.colours && is_colour(&line[at..])) {
                writer.write_char(c)?;
            } else {
                write!(writer, "{}", c.escape_default())?;
            }
        }
        match current() {
            Some(context) => writeln!(writer, " trace_id={:032x}", context.trace.trace_id()),
            None => writeln!(writer),
        }
    }
}

/// Returns whether a character stays on its line and leaves the direction of the text as it is.
fn is_safe(c: char) -> bool {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let directs = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || separates || directs)
}

/// Returns whether a text begins with an escape sequence that changes a colour or a style. The
/// subscriber does not escape the sequences in a field's text; others move the cursor or erase.
fn is_colour(text: &str) -> bool {
    let parameters = text.strip_prefix("\u{1b}[");
    let rest = parameters.map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    rest.is_some_and(|it| it.starts_with('m'))
}

/// Returns the beginning of a text that has at most `most` bytes.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns what is logged with and without colours.
    fn logged(log: impl Fn()) -> [String; 2] {
        [false, true].map(|colours| {
            let sink = Sink::default();
            let out = sink.clone();
            let lines = tracing_subscriber::fmt::layer()
                .event_format(TextLines::new(colours))
                .with_writer(move || out.clone());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), &log);
            let bytes = sink.0.lock().expect("nobody panicked").clone();
            String::from_utf8(bytes).expect("it is text")
        })
    }

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        for forged in [
            "a\n2026-01-01T00:00:00Z  INFO shop: paid",
            "a\r\n2026",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{1b}[2K\u{1b}[1Gb",
            "a\0b",
        ] {
            let log = || tracing::warn!(kind = forged, code = %forged, "of type {forged}");
            for (text, colours) in logged(log).into_iter().zip([false, true]) {
                assert_eq!(text.matches('\n').count(), 1, "{text:?}");
                let line = text.trim_end_matches('\n');
                let unsafe_char = line.chars().find(|c| !is_safe(*c) && *c != '\u{1b}');
                assert_eq!(unsafe_char, None, "{line:?}");
                assert!(colours || !line.contains('\u{1b}'), "{line:?}");
                assert!(!line.contains("\u{1b}[2K"), "{line:?}");
            }
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let long = "ä".repeat(1 << 20);
        for text in logged(|| tracing::warn!("of type {long}")) {
            assert!(text.len() < TEXT_MAX + 100, "{}", text.len());
        }
    }
}
