//! Messages of any content, with handlers on RabbitMQ and PostgreSQL: whatever the broker accepts
//! is handled or becomes a dead letter that can be read, while other subscriptions go on.

use std::sync::{Arc, Mutex, OnceLock};

use wingbeat::app::DeadLetter;
use wingbeat::call::HyperClient;
use wingbeat::test::model::Model;
use wingbeat::{Message as _, Ports, Running, TokioRuntime};
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX, SOURCE_MAX};
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
pub(crate) const CONTENT_TYPE: usize = 0;
pub(crate) const CORRELATION_ID: usize = 5;
pub(crate) const MESSAGE_ID: usize = 8;
pub(crate) const TIMESTAMP: usize = 9;
pub(crate) const TYPE: usize = 10;
pub(crate) const APP_ID: usize = 12;

/// The service on both servers, and a publisher that sends anything.
pub(crate) struct Strangers {
    exchange: String,
    pub(crate) running: Running,
    transport: Arc<RabbitMq>,
    raw: Mutex<Raw>,
    pub(crate) runtime: Arc<TokioRuntime>,
}

impl Strangers {
    pub(crate) async fn start() -> Self {
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
    pub(crate) fn message(&self, meter: &str) -> Message {
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
    pub(crate) fn publish(&self, message: &Message) -> bool {
        let mut raw = self.raw.lock().unwrap();
        let accepted = raw.publish(&self.exchange, message);
        if !accepted {
            *raw = Raw::connect(server().port());
        }
        accepted
    }

    pub(crate) fn accepted(&self, message: &Message) {
        assert!(self.publish(message), "the broker accepts the message");
    }

    /// Returns how many deliveries of the subscription were handled, and how many are dead letters.
    pub(crate) async fn ended(&self) -> (i64, i64) {
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

    pub(crate) async fn until_ended(&self, count: i64) {
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
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
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
    pub(crate) async fn goes_on(&self) {
        let meter = self.runtime.id().to_string();
        let note = Note {
            meter: meter.clone(),
            size: 3,
        };
        let envelope = wingbeat::ports::published_by("elsewhere", &note, &*self.runtime);
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

pub(crate) fn noise(seed: u64, length: usize) -> String {
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

/// Ids without a time, with one that passed long ago and one that is to come: none makes a message
/// a duplicate of one that never was.
#[test]
fn messages_with_any_id_and_any_time_are_handled_once() {
    block_on(async {
        let strangers = Strangers::start().await;
        let old = wingbeat::Timestamp::from_millis(1_690_000_000_000);
        let future = wingbeat::Timestamp::from_millis(4_000_000_000_000);
        let ids = [
            wingbeat::Uuid::nil(),
            wingbeat::Uuid::from_u128(7),
            wingbeat::Uuid::max(),
            wingbeat::Uuid::from_u128(0x9073_926b_929f_31c2_abc9_fad7_7ae3_e8eb),
            wingbeat_core::ids::uuid_v7(old, 7),
            wingbeat_core::ids::uuid_v7(future, 7),
        ];
        let times = [
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "2023-07-22T04:26:40Z",
            "9999-12-30T22:00:00Z",
        ];
        for round in 0..2 {
            for (at, time) in times.iter().enumerate() {
                for id in &ids {
                    let mut message = strangers.message("a").with("cloudEvents:time", text(time));
                    message.headers[0].1 = text(id.to_string());
                    message.headers[1].1 = text(format!("crm-{at}"));
                    strangers.accepted(&message);
                }
            }
            let count = (times.len() * ids.len()) as i64;
            strangers.until_ended(count).await;
            assert_eq!(strangers.ended().await, (count, 0), "round {round}");
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
            dialog: None,
            signature: Some(wingbeat_core::Signature::new([7; 64])),
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
