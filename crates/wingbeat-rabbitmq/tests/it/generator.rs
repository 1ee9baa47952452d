//! A generator of messages with random faults: whatever the broker accepts ends, within bounds.

use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use wingbeat::Uuid;
use wingbeat_core::RuntimeExt as _;
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX, KIND_MAX, SOURCE_MAX};

use crate::conformance::block_on;
use crate::raw::{Message, long, nested, short, text, value};
use crate::strangers::{
    APP_ID, CONTENT_TYPE, CORRELATION_ID, MESSAGE_ID, Strangers, TIMESTAMP, TYPE, noise,
};
use crate::world::{METERS, READ};

/// Counts the log lines of this process from warnings on.
struct Lines;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= Level::WARN {
            let mut line = String::new();
            event.record(
                &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                    use std::fmt::Write as _;
                    let _ = write!(line, "{field}={value:?} ");
                },
            );
            LINES.lock().unwrap().push(line);
        }
    }
}

/// Messages with random faults, from a fixed seed.
struct Generator {
    random: fastrand::Rng,
    case: usize,
}

const ATTRIBUTES: [&str; 12] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "partitionkey",
    "time",
    "correlationid",
    "causationid",
    "sequence",
    "operationid",
    "traceparent",
];

impl Generator {
    fn size(&mut self) -> usize {
        let limits = [0, 1, KIND_MAX, SOURCE_MAX, KEY_MAX, 16 << 10, 64 << 10];
        let limit = limits[self.random.usize(..limits.len())];
        (limit + self.random.usize(..3)).saturating_sub(1)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = self.size();
        match self.random.u8(..6) {
            0 => noise(self.random.u64(..), size).into(),
            1 => "\0".repeat(size.min(3)).into(),
            2 => b"\xff\xc0\x80".to_vec(),
            3 => "a\r\nERROR forged\u{202e}\u{fffe}".into(),
            4 => "\u{1F426}".repeat(size / 4).into(),
            _ => "1".repeat(size).into(),
        }
    }

    /// A value of any type.
    fn value(&mut self) -> Vec<u8> {
        let number = self.random.u64(..).to_be_bytes();
        let kinds = b"tbBsuIilfdDTVSSSxAFFA";
        let kind = kinds[self.random.usize(..kinds.len())];
        let content = match kind {
            b't' | b'b' | b'B' => number[..1].to_vec(),
            b's' | b'u' => number[..2].to_vec(),
            b'I' | b'i' | b'f' => number[..4].to_vec(),
            b'D' => number[..5].to_vec(),
            b'V' => Vec::new(),
            b'S' | b'x' => long(self.bytes()),
            b'A' => return nested([1, 15, 16, 17, 300][self.random.usize(..5)]),
            b'F' => {
                let size = self.random.usize(..3);
                let entries: Vec<u8> = (0..size)
                    .flat_map(|_| [short(b"n\xfe"), text("x")].concat())
                    .collect();
                long(entries)
            }
            _ => number.to_vec(),
        };
        value(kind, content)
    }

    fn change(&mut self, message: &mut Message) {
        let attribute = ATTRIBUTES[self.random.usize(..ATTRIBUTES.len())];
        let prefix = ["cloudEvents:", "cloudEvents_"][self.random.usize(..2)];
        let name = format!("{prefix}{attribute}").into_bytes();
        match self.random.u8(..11) {
            0..=3 => {
                message
                    .headers
                    .retain(|(other, _)| !other.ends_with(attribute.as_bytes()));
                let value = self.value();
                message.headers.push((name, value));
            }
            4 => message
                .headers
                .retain(|(other, _)| !other.ends_with(attribute.as_bytes())),
            5 => message.headers.push((name, text("twice"))),
            6 => {
                let forged = [
                    "x-first-death-queue",
                    "x-first-death-exchange",
                    "x-death",
                    "x-delivery-count",
                    "x-wingbeat-fault",
                    "x-wingbeat-body-size",
                    "baggage",
                    "tracestate",
                ];
                let name = forged[self.random.usize(..forged.len())];
                let value = self.value();
                message.headers.push((name.into(), value));
            }
            7 => {
                let texts = [CONTENT_TYPE, CORRELATION_ID, MESSAGE_ID, TYPE, APP_ID];
                let at = texts[self.random.usize(..texts.len())];
                let mut bytes = self.bytes();
                bytes.truncate(255);
                message.properties.retain(|(other, _)| *other != at);
                message.properties.push((at, short(bytes)));
            }
            8 => {
                let time = self.random.u64(..).to_be_bytes();
                message.properties.retain(|(other, _)| *other != TIMESTAMP);
                message.properties.push((TIMESTAMP, time.to_vec()));
            }
            9 => {
                let bodies: [&[u8]; 5] = [
                    b"",
                    b"{",
                    b"\xff\xfe",
                    br#"{"meter":"a\u0000b","number":1}"#,
                    br#"{"meter":7}"#,
                ];
                message.body = bodies[self.random.usize(..bodies.len())].to_vec();
            }
            _ => {
                let name = self.bytes();
                let name = name[..name.len().min(255)].to_vec();
                let value = self.value();
                message.headers.push((name, value));
            }
        }
    }

    fn message(&mut self, valid: Message) -> Message {
        self.case += 1;
        let mut message = valid;
        for _ in 0..=self.random.usize(..3) {
            self.change(&mut message);
        }
        // Makes each message another one, whatever else was changed.
        message.with("case", text(self.case.to_string()))
    }
}

/// Whatever the broker accepts ends, within bounds.
#[test]
fn whatever_the_broker_accepts_is_handled_parked_or_a_readable_dead_letter() {
    const CASES: usize = 400;
    // Other tests of this process log, too. They log little.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    block_on(async {
        let strangers = Strangers::start().await;
        let mut generator = Generator {
            random: fastrand::Rng::with_seed(20_261_129),
            case: 0,
        };
        let before = LINES.lock().unwrap().len();
        let mut accepted = 0;
        for case in 0..CASES {
            let mut valid = strangers.message(&format!("meter-{case}"));
            // Otherwise two messages with the same changed id would be one.
            valid.headers[1].1 = text(format!("crm-{case}"));
            let message = generator.message(valid);
            if message.header_frame() > 128 << 10 {
                continue;
            }
            accepted += i64::from(strangers.publish(&message));
            if case % 100 == 50 {
                strangers.goes_on().await;
            }
        }
        let mut body = strangers.message("limit");
        for size in [BODY_MAX - 1, BODY_MAX, BODY_MAX + 1] {
            body.body.resize(size, b' ');
            body.headers[0].1 = text(strangers.runtime.id().to_string());
            accepted += i64::from(strangers.publish(&body));
        }
        strangers.until_ended(accepted).await;
        let letters = strangers.letters().await;
        let (handled, dead) = strangers.ended().await;
        assert!(letters.len() as i64 <= dead);
        let lines = LINES.lock().unwrap().split_off(before);
        println!(
            "{accepted} accepted, {handled} handled, {dead} dead, {} lines",
            lines.len()
        );
        assert!(
            accepted > 300 && handled > 50 && dead > 100,
            "{handled} + {dead}"
        );
        assert!(lines.len() < 4 * CASES, "{} lines", lines.len());
        let forged = |line: &&String| line.contains('\n') || line.contains('\r');
        assert_eq!(lines.iter().find(forged), None);
        strangers.goes_on().await;
    });
}

/// The first log lines of a flood are written, and the others are counted.
#[test]
fn a_flood_of_invalid_messages_writes_few_lines() {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    block_on(async {
        let strangers = Strangers::start().await;
        let marker = noise(9, 20);
        let began = std::time::Instant::now();
        for number in 0..1_000 {
            let mut message = strangers.message("a");
            message.headers[1].1 = text(format!("{marker}\0{number}"));
            message.headers.push(("marker".into(), text(&marker)));
            strangers.accepted(&message);
        }
        strangers.until_ended(1_000).await;
        let seconds = began.elapsed().as_secs() as usize;
        let queue = READ.as_str();
        let about = |line: &&String| {
            line.contains("dead letter") && line.contains(queue) && line.contains("source")
        };
        let lines = LINES.lock().unwrap().iter().filter(about).count();
        // Other tests in this process have subscriptions of the same name.
        assert!(lines < 300 + 10 * seconds);
        assert_eq!(
            strangers
                .running
                .dead_letter_page(METERS, None, 7)
                .await
                .unwrap()
                .len(),
            7
        );
        let all = strangers.letters().await;
        let mut paged: Vec<Uuid> = Vec::new();
        loop {
            let after = paged.last().copied();
            let page = strangers
                .running
                .dead_letter_page(METERS, after, 100)
                .await
                .unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page.iter().map(|letter| letter.id));
        }
        let ids: Vec<Uuid> = all.iter().map(|letter| letter.id).collect();
        assert_eq!(paged, ids);
    });
}
