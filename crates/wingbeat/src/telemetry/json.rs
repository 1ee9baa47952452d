//! Log lines in JSON, with the ids of the current work.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::text::{TEXT_MAX, bounded};
use super::{Context, current};

/// Writes one JSON object per line: `timestamp`, `level`, `target`, `message`, the event's own
/// fields, and `trace_id`, `span_id`, `correlation_id` and `causation_id` if they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let (target, mut line) = fields(event);
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), target.into());
        if let Some(context) = current() {
            enter(&mut line, context);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Returns the target of an event and its fields, the message included, with bounded texts.
pub(super) fn fields(event: &Event<'_>) -> (String, Map<String, Value>) {
    let mut line = Line::default();
    event.record(&mut line);
    let Line(mut line) = line;
    // Events of the crate `log` carry their target as a field.
    let target = match line.remove("log.target") {
        Some(Value::String(target)) => target,
        _ => event.metadata().target().to_owned(),
    };
    line.retain(|name, _| !name.starts_with("log."));
    (target, line)
}

fn enter(line: &mut Map<String, Value>, context: Context) {
    let Context {
        trace,
        correlation,
        causation,
    } = context;
    line.insert(
        "trace_id".into(),
        format!("{:032x}", trace.trace_id()).into(),
    );
    line.insert("span_id".into(), format!("{:016x}", trace.span_id()).into());
    if let Some(id) = correlation {
        line.insert("correlation_id".into(), id.to_string().into());
    }
    if let Some(id) = causation {
        line.insert("causation_id".into(), id.to_string().into());
    }
}

#[derive(Default)]
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    /// Adds a text. JSON escapes it; its length is bounded here.
    fn put_text(&mut self, field: &Field, text: &str) {
        self.put(field, bounded(text, TEXT_MAX));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Span;
    use tracing_subscriber::layer::SubscriberExt as _;
    use uuid::Uuid;
    use wingbeat_core::{MessageId, TraceParent};

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

    #[test]
    fn a_line_contains_the_ids_of_the_current_work() {
        let sink = Sink::default();
        let out = sink.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .with_writer(move || out.clone());
        let story = Uuid::from_u128(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        let context = Context {
            trace: TraceParent::of(story).child(7),
            correlation: Some(story.into()),
            causation: Some(MessageId(Uuid::from_u128(3))),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let work = Box::pin(async {
                tracing::warn!(queue = "orders.checkout", tries = 2, "it \"fails\"")
            });
            futures_util::FutureExt::now_or_never(context.run(Span::none(), work))
                .expect("it ends");
            tracing::info!("and outside");
        });
        let text =
            String::from_utf8(sink.0.lock().expect("nobody panicked").clone()).expect("it is text");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let field = |name: &str| lines[0][name].as_str().unwrap_or_default().to_owned();
        assert_eq!(field("message"), "it \"fails\"");
        assert_eq!(
            (field("level"), field("queue")),
            ("WARN".into(), "orders.checkout".into())
        );
        assert_eq!(lines[0]["tries"], 2);
        assert_eq!(field("trace_id"), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(field("span_id"), "0000000000000007");
        assert_eq!(field("correlation_id"), story.to_string());
        assert_eq!(field("causation_id"), Uuid::from_u128(3).to_string());
        assert!(lines[1].get("trace_id").is_none());
    }
}
