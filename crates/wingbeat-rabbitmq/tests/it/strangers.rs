//! Messages of any content, with handlers on RabbitMQ and PostgreSQL: whatever the broker accepts is
//! handled or becomes a dead letter that can be read, while other subscriptions go on.

use std::sync::{Arc, Mutex, OnceLock};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use wingbeat::call::HyperClient;
use wingbeat::test::model::Model;
use wingbeat::{DeadLetter, Message as _, Ports, Running, TokioRuntime, Uuid};
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX, KIND_MAX, SOURCE_MAX};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::text::is_forbidden;
use wingbeat_core::{RuntimeExt as _, Transport as _};
use wingbeat_postgres::Postgres;
use wingbeat_rabbitmq::RabbitMq;
use wingbeat_servers::Postgres as PostgresServer;

use crate::conformance::{block_on, open_with, server};
use crate::raw::{Message, Raw, long, nested, short, text, value};
use crate::traffic::{config, publish, until};
use crate::world::{METERS, MeterRead, Note, READ, meters};

/// The part of a dead letter's body that a body over the limit keeps.
const KEPT: usize = 64 << 10;

// Positions of properties.
const CONTENT_TYPE: usize = 0;
const CORRELATION_ID: usize = 5;
const MESSAGE_ID: usize = 8;
const TIMESTAMP: usize = 9;
const TYPE: usize = 10;
const APP_ID: usize = 12;

/// The service on both servers, and a publisher that sends anything.
struct Strangers {
    exchange: String,
    running: Running,
    transport: Arc<RabbitMq>,
    raw: Mutex<Raw>,
    runtime: Arc<TokioRuntime>,
}

impl Strangers {
    async fn start() -> Self {
        static POSTGRES: OnceLock<PostgresServer> = OnceLock::new();
        let runtime = TokioRuntime::new();
        let shared: SharedRuntime = runtime.clone();
        let config = config(server());
        let transport = open_with(&config, &shared).await;
        let postgres = POSTGRES.get_or_init(PostgresServer::start);
        let mut store = wingbeat_postgres::Config::new(postgres.url());
        store.schema_prefix = format!("t{}_", runtime.id().simple());
        store.connections_max = 4;
        let store = Postgres::connect(&store, shared.clone()).await.unwrap();
        let model = Model::new(shared.clone());
        let ports = Ports {
            runtime: runtime.clone(),
            store,
            transport: transport.clone(),
            cache: model.cache.clone(),
            http: HyperClient::new(),
        };
        let running = meters().allow_unknown_owners().start(ports).await.unwrap();
        Self {
            exchange: format!("{}wingbeat.events", config.namespace),
            running,
            transport,
            raw: Mutex::new(Raw::connect(server().port())),
            runtime,
        }
    }

    /// Returns a valid message of another program, about a meter.
    fn message(&self, meter: &str) -> Message {
        let message = Message {
            key: MeterRead::NAME.into(),
            body: format!(r#"{{"meter":"{meter}","number":1}}"#).into(),
            ..Message::default()
        };
        message
            .with("cloudEvents:id", text(self.runtime.id().to_string()))
            .with("cloudEvents:source", text("crm"))
    }

    /// Publishes a message. Returns whether the broker has accepted it.
    fn publish(&self, message: &Message) -> bool {
        let mut raw = self.raw.lock().unwrap();
        let accepted = raw.publish(&self.exchange, message);
        if !accepted {
            *raw = Raw::connect(server().port());
        }
        accepted
    }

    fn accepted(&self, message: &Message) {
        assert!(self.publish(message), "the broker accepts the message");
    }

    /// Returns how many deliveries of the subscription were handled, and how many are dead letters.
    async fn ended(&self) -> (i64, i64) {
        let counters = self
            .running
            .reads("meters")
            .unwrap()
            .counters()
            .await
            .unwrap();
        let count = |what: &str| {
            let name = format!("{what}:{READ}");
            let found = counters.iter().find(|(of, _)| of.as_str() == name);
            found.map_or(0, |(_, count)| *count)
        };
        (count("handled"), count("dead"))
    }

    /// Returns how many deliveries wait for another attempt.
    async fn parked(&self) -> i64 {
        let parked = self.running.parked(METERS).await.unwrap();
        parked.values().sum::<u64>() as i64
    }

    async fn until_ended(&self, count: i64) {
        until("every message is handled, parked or dead", async || {
            let parked = self.parked().await;
            let (handled, dead) = self.ended().await;
            handled + dead + parked == count && self.parked().await == parked
        })
        .await;
        let depth = async || self.transport.depth(READ).await.unwrap();
        until("the queue is empty", async || depth().await == 0).await;
    }

    /// Returns the dead letters, after checking that an operator can read each.
    async fn letters(&self) -> Vec<DeadLetter> {
        let letters = self.running.dead_letters(METERS).await.unwrap();
        for letter in &letters {
            assert!(letter.message().is_some(), "{letter:?}");
            let broken = letter.broken.iter().flat_map(|it| &it.headers);
            let texts = broken.flat_map(|(name, value)| [name, value]);
            let texts = texts.chain([&letter.error, &letter.reason, &letter.kind]);
            for text in texts {
                assert!(text.len() <= 4 << 10, "{} bytes", text.len());
                assert!(!text.chars().any(is_forbidden), "{text:?}");
            }
            assert!(letter.failures.attempts <= 4, "{letter:?}");
        }
        letters
    }

    /// Waits for the only dead letter, and returns it.
    async fn letter(&self) -> DeadLetter {
        self.until_ended(1).await;
        let mut letters = self.letters().await;
        assert_eq!(letters.len(), 1);
        letters.remove(0)
    }

    /// Checks that another subscription of the process handles a message.
    async fn goes_on(&self) {
        let meter = self.runtime.id().to_string();
        let note = Note {
            meter: meter.clone(),
            size: 3,
        };
        let id = self.runtime.id();
        let envelope = wingbeat_core::Envelope {
            id: id.into(),
            source: "elsewhere".into(),
            kind: Note::NAME.into(),
            role: Note::KIND,
            key: meter.clone(),
            time: wingbeat::Runtime::now(&*self.runtime),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Default::default(),
            body: wingbeat::encode_body(&note),
        };
        publish(&self.transport, vec![envelope]).await;
        let reads = self.running.reads("meters").unwrap();
        until("the other subscription goes on", async || {
            let log = reads.entity::<crate::world::Log>(&meter).await.unwrap();
            log.is_some_and(|log| log.notes == 1)
        })
        .await;
    }
}

/// Runs a test on one message that the broker accepts and that becomes a dead letter.
fn dead_letter(change: impl FnOnce(Message) -> Message, check: impl FnOnce(&DeadLetter)) {
    block_on(async {
        let strangers = Strangers::start().await;
        let message = change(strangers.message("a"));
        strangers.accepted(&message);
        check(&strangers.letter().await);
        strangers.goes_on().await;
    });
}

fn noise(seed: u64, length: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.alphanumeric())
        .take(length)
        .collect()
}

#[test]
fn a_long_header_does_not_end_the_consumers_of_the_process() {
    block_on(async {
        let strangers = Strangers::start().await;
        for length in [16_000, 16_384, 16_400, 60_000] {
            let message = strangers
                .message("a")
                .with("note", text("n".repeat(length)));
            strangers.accepted(&message);
        }
        strangers.until_ended(4).await;
        assert_eq!(strangers.ended().await, (4, 0));
        strangers.goes_on().await;
    });
}

#[test]
fn headers_beyond_a_frame_make_a_dead_letter_with_their_beginning() {
    let change = |message: Message| message.with("note", text("n".repeat(100_000)));
    dead_letter(change, |letter| {
        assert_eq!(letter.reason, "too_large");
        assert!(letter.error.contains("headers"), "{}", letter.error);
        let headers = &letter.broken.as_ref().unwrap().headers;
        assert_eq!(headers["cloudEvents:source"], "crm");
        assert!(headers["note"].starts_with("nnn"));
    });
}

#[test]
fn a_source_that_no_index_takes_is_a_dead_letter() {
    for source in [noise(1, 4_000), "a\0b".to_owned()] {
        let reason = if source.contains('\0') {
            "undecodable"
        } else {
            "too_large"
        };
        let change = |mut message: Message| {
            message.headers[1].1 = text(&source);
            message
        };
        dead_letter(change, |letter| {
            assert_eq!(letter.reason, reason);
            assert!(letter.error.contains("source"), "{}", letter.error);
        });
    }
}

/// The AMQP client cannot parse any of these.
#[test]
fn a_message_that_the_client_cannot_parse_is_a_dead_letter() {
    let property = |at, text: &'static [u8]| {
        move |mut message: Message| {
            message.properties.push((at, short(text)));
            message
        }
    };
    let problems: [Box<dyn FnOnce(Message) -> Message>; 4] = [
        Box::new(property(MESSAGE_ID, b"\xff\xfe")),
        Box::new(property(TYPE, b"\xc3")),
        Box::new(|message: Message| message.with(b"na\xffme", text("x"))),
        Box::new(|message: Message| message.with("deep", nested(20_000))),
    ];
    for change in problems {
        dead_letter(change, |letter| {
            assert!(
                ["undecodable", "too_large"].contains(&letter.reason.as_str()),
                "{letter:?}"
            );
            assert_eq!(letter.kind, MeterRead::NAME);
            assert_eq!(
                letter.message().unwrap().body,
                br#"{"meter":"a","number":1}"#[..]
            );
        });
    }
}

/// The message reaches the queue through the header `CC`.
#[test]
fn a_routing_key_that_is_not_utf_8_does_not_end_consumers() {
    let change = |mut message: Message| {
        message.key = b"\xff\xff".to_vec();
        let copies = value(b'A', long(text(MeterRead::NAME)));
        message.with("CC", copies)
    };
    dead_letter(change, |letter| assert_eq!(letter.reason, "unknown_type"));
}

#[test]
fn large_bodies_are_cut_off_before_they_are_collected() {
    block_on(async {
        let strangers = Strangers::start().await;
        let mut message = strangers.message("a");
        message.body = vec![b' '; 32 << 20];
        for number in 0_u8..8 {
            message.headers[0].1 = text(strangers.runtime.id().to_string());
            *message.body.last_mut().unwrap() = number;
            strangers.accepted(&message);
        }
        strangers.until_ended(8).await;
        let letters = strangers.letters().await;
        let mut digests: Vec<&str> = Vec::new();
        for letter in &letters {
            assert_eq!(letter.reason, "too_large");
            assert!(
                letter.error.contains(&(32 << 20).to_string()),
                "{}",
                letter.error
            );
            assert_eq!(letter.message().unwrap().body.len(), KEPT);
            digests.push(&letter.broken.as_ref().unwrap().headers["body_sha256"]);
        }
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 8, "each has the digest of its whole body");
        strangers.goes_on().await;
    });
}

#[test]
fn a_consumer_with_too_many_bytes_in_flight_starts_again_with_fewer() {
    block_on(async {
        let config = config(server());
        let (bench, transport) = crate::traffic::bench(&config).await;
        let kind = wingbeat_core::conformance::RESERVE;
        let queue = wingbeat_core::conformance::RESERVING;
        let messages = (0..64).map(|_| wingbeat_core::Envelope {
            body: vec![b' '; BODY_MAX].into(),
            ..bench.message(kind)
        });
        publish(&transport, messages.collect()).await;
        let mut consumer = transport.consume(queue, 512).await.unwrap();
        let mut received = 0;
        while let Ok(deliveries) = bench.within(consumer.next()).await {
            received += deliveries.len();
        }
        assert!((33..=40).contains(&received), "{received} of 64");
        drop(consumer);
        let mut consumer = transport.consume(queue, 512).await.unwrap();
        let mut done = std::collections::BTreeSet::new();
        while done.len() < 64 {
            let deliveries = bench.within(consumer.next()).await.unwrap();
            assert!(deliveries.len() <= 32, "{} at once", deliveries.len());
            done.extend(deliveries.iter().map(|it| it.envelope.as_ref().unwrap().id));
            let tags: Vec<_> = deliveries.iter().map(|it| it.tag).collect();
            consumer.settler().acknowledge(&tags);
        }
    });
}

#[test]
fn a_time_is_a_text_or_a_timestamp_or_the_time_of_receipt() {
    block_on(async {
        let strangers = Strangers::start().await;
        let seconds = 1_700_000_000_u64.to_be_bytes();
        let timestamp = value(b'T', seconds);
        let good = |message: Message| strangers.accepted(&message);
        good(strangers.message("a"));
        good(strangers.message("a").with("cloudEvents:time", timestamp));
        let mut property = strangers.message("a");
        property.properties.push((TIMESTAMP, seconds.to_vec()));
        good(property);
        let year = text("1970-01-01T00:00:00Z");
        good(strangers.message("a").with("cloudEvents:time", year));
        good(strangers.message("a").with("cloudEvents:time", text("now")));
        let far = value(b'T', u64::MAX.to_be_bytes());
        good(strangers.message("a").with("cloudEvents:time", far));
        strangers.until_ended(6).await;
        assert_eq!(strangers.ended().await, (4, 2));
        for letter in strangers.letters().await {
            assert!(letter.error.contains("time"), "{}", letter.error);
        }
    });
}

#[test]
fn a_key_of_the_largest_size_is_published_and_handled() {
    block_on(async {
        let strangers = Strangers::start().await;
        let id = strangers.runtime.id();
        let body = MeterRead {
            meter: "a".into(),
            number: 1,
        };
        let envelope = wingbeat_core::Envelope {
            id: id.into(),
            source: "s".repeat(SOURCE_MAX).into(),
            kind: MeterRead::NAME.into(),
            role: MeterRead::KIND,
            key: noise(2, KEY_MAX),
            time: wingbeat::Runtime::now(&*strangers.runtime),
            correlation: id.into(),
            causation: Some(id.into()),
            sequence: Some(u64::MAX),
            operation: Some(noise(3, KEY_MAX)),
            traceparent: Some(wingbeat_core::TraceParent::of(id)),
            propagation: wingbeat_core::Propagation::new(
                Some(&"t".repeat(512)),
                Some(&"b".repeat(8 << 10)),
            ),
            body: wingbeat::encode_body(&body),
        };
        publish(&strangers.transport, vec![envelope.clone()]).await;
        strangers.until_ended(1).await;
        assert_eq!(strangers.ended().await, (1, 0));
        let longer = wingbeat_core::Envelope {
            key: noise(2, KEY_MAX + 1),
            ..envelope
        };
        let refused = strangers.transport.publish(vec![longer]).await;
        assert!(
            matches!(
                refused[0],
                Err(wingbeat_core::transport::Refused::Impossible(_))
            ),
            "{refused:?}"
        );
    });
}

/// An operator may configure smaller frames.
#[test]
fn headers_that_exceed_the_frames_of_the_broker_are_refused_without_closing_the_connection() {
    block_on(async {
        let mut config = config(server());
        config.url += "?frame_max=8192";
        let (bench, transport) = crate::traffic::bench(&config).await;
        let kind = wingbeat_core::conformance::RESERVE;
        let with = |length: usize| wingbeat_core::Envelope {
            key: "k".repeat(length),
            ..bench.message(kind)
        };
        let published = transport
            .publish(vec![with(KEY_MAX), with(3_000), with(KEY_MAX), with(1)])
            .await;
        for (published, fits) in published.iter().zip([false, true, false, true]) {
            match published {
                Ok(()) => assert!(fits),
                Err(why) => assert!(
                    !fits && why.to_string().contains("`frame_max` is 8192"),
                    "{why}"
                ),
            }
        }
        bench
            .assert_depth(wingbeat_core::conformance::RESERVING, 2)
            .await;
    });
}

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
    use tracing_subscriber::layer::SubscriberExt as _;
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
    use tracing_subscriber::layer::SubscriberExt as _;
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
        let lines = LINES.lock().unwrap();
        let about = |line: &&String| line.contains("dead letter") && line.contains(queue);
        let lines = lines
            .iter()
            .filter(about)
            .filter(|line| line.contains("source"));
        // Other tests in this process have subscriptions of the same name.
        assert!(lines.count() < 300 + 10 * seconds);
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
