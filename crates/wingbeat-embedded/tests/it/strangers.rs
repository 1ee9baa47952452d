//! Messages of any content in the embedded shape: each is refused by the transport, handled, or a
//! dead letter that can be read. The limits are those of the shape on servers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Envelope, Store as _, Transport as _};
use wingbeat::{
    App, Entity, Event, JsonSchema, Message as _, Name, Result, Running, Runtime as _, Service,
    Table, Timestamp, TokioRuntime, Uuid, schemars,
};
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX, KIND_MAX, SOURCE_MAX};
use wingbeat_core::transport::Refused;
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

const SERVICE: Name = Name::new("meters");
const CASES: usize = 300;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Log(u32);

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

async fn keep(event: MeterRead, logs: Table<Log>) -> Result<()> {
    let kept = logs.update(&event.meter, |log| Log(log.unwrap_or_default().0 + 1));
    kept.await.map(drop)
}

/// A text at a limit, one byte to either side of it, or with characters that are not allowed.
fn text(random: &mut fastrand::Rng, limit: usize) -> String {
    match random.u8(..6) {
        0 => "k".repeat(limit - 1),
        1 => "k".repeat(limit),
        2 => "k".repeat(limit + 1),
        3 => "a\0b".into(),
        4 => "a\r\nERROR forged".into(),
        _ => "\u{1F426}".repeat(limit / 4),
    }
}

fn change(envelope: &mut Envelope, random: &mut fastrand::Rng) {
    match random.u8(..7) {
        0 => envelope.source = text(random, SOURCE_MAX).into(),
        1 => envelope.key = text(random, KEY_MAX),
        2 => envelope.operation = Some(text(random, KEY_MAX)),
        3 => envelope.kind = text(random, KIND_MAX).into(),
        4 => {
            let size = BODY_MAX + random.usize(..3) - 1;
            envelope.body = vec![b' '; size].into();
        }
        5 => envelope.time = wingbeat::Timestamp::from_micros(random.i64(..)),
        _ => {
            let body: [&[u8]; 4] = [b"", b"{", b"\xff", br#"{"meter":"a\u0000"}"#];
            envelope.body = body[random.usize(..body.len())].to_vec().into();
        }
    }
}

/// Returns a message with up to two changes.
fn envelope(runtime: &TokioRuntime, random: &mut fastrand::Rng) -> Envelope {
    let mut envelope = valid(runtime);
    for _ in 0..random.usize(..3) {
        change(&mut envelope, random);
    }
    envelope
}

fn valid(runtime: &TokioRuntime) -> Envelope {
    wingbeat::ports::published_by("crm", &MeterRead { meter: "a".into() }, runtime)
}

async fn start(embedded: &Arc<Embedded>, cache: &Path, runtime: &Arc<TokioRuntime>) -> Running {
    let ports = setup::ports(runtime.clone(), embedded, cache);
    let app = App::new().service(Service::new("meters").on(keep));
    app.allow_unknown_owners().start(ports).await.unwrap()
}

/// Ids without a time, with one that passed long ago and one that is to come, and times that cannot
/// be true: none makes a message a duplicate of one that never was, and none lets a duplicate
/// through, also after a sweep.
#[tokio::test]
async fn messages_with_any_id_and_any_time_are_handled_once() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let running = start(&embedded, directory.path(), &runtime).await;
    let old = Timestamp::from_millis(1_690_000_000_000);
    let ids = [
        Uuid::nil(),
        Uuid::from_u128(7),
        Uuid::max(),
        Uuid::from_u128(0x9073_926b_929f_31c2_abc9_fad7_7ae3_e8eb),
        Uuid::from_u128(0x6ba7_b810_9dad_41d1_80b4_00c0_4fd4_30c8),
        wingbeat_core::ids::uuid_v7(old, 7),
        wingbeat_core::ids::uuid_v7(Timestamp::from_millis(4_000_000_000_000), 7),
    ];
    let times = [i64::MIN, 0, old.as_micros(), i64::MAX].map(Timestamp::from_micros);
    let mut random = fastrand::Rng::with_seed(1);
    let mut envelopes = Vec::new();
    for (at, time) in times.into_iter().chain([runtime.now()]).enumerate() {
        envelopes.extend(ids.iter().map(|id| Envelope {
            id: (*id).into(),
            time,
            source: format!("crm-{at}").into(),
            ..valid(&runtime)
        }));
    }
    let handled = async || {
        let counters = running.reads("meters").unwrap().counters().await.unwrap();
        let mut counters = counters.into_iter();
        let of = counters.find(|(name, _)| name.as_str().starts_with("handled:"));
        of.map_or(0, |(_, count)| usize::try_from(count).unwrap())
    };
    for round in 0..3 {
        random.shuffle(&mut envelopes);
        for published in embedded.publish(envelopes.clone()).await {
            published.unwrap();
        }
        let queue = Name::new("meters.read");
        let began = Instant::now();
        while embedded.depth(queue).await.unwrap() > 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "round {round}");
            runtime.sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(handled().await, envelopes.len(), "round {round}");
        embedded.retain(runtime.now()).await.unwrap();
    }
    assert!(running.dead_letters(SERVICE).await.unwrap().is_empty());
    running.drain().await;
}

#[tokio::test]
async fn every_message_is_refused_handled_or_a_readable_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).unwrap();
    let running = start(&embedded, directory.path(), &runtime).await;
    let mut random = fastrand::Rng::with_seed(20_261_129);
    let mut envelopes = Vec::with_capacity(CASES);
    for _ in 0..CASES {
        envelopes.push(envelope(&runtime, &mut random));
    }
    let mut accepted = 0;
    // Together, since each call waits for the disk.
    let published = embedded.publish(envelopes.clone()).await;
    for (envelope, published) in envelopes.iter().zip(&published) {
        let routed = envelope.kind == MeterRead::NAME;
        match (envelope.check(), published) {
            (Ok(()), Ok(())) => accepted += i64::from(routed),
            (Err(_), Err(Refused::Impossible(why))) => assert!(!why.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    let began = Instant::now();
    let (handled, dead) = loop {
        let counters = running.reads("meters").unwrap().counters().await.unwrap();
        let of = |what: &str| {
            let mut counters = counters.iter();
            let counter = counters.find(|(name, _)| name.as_str().starts_with(what));
            counter.map_or(0, |(_, count)| *count)
        };
        let (handled, dead) = (of("handled:"), of("dead:"));
        if handled + dead == accepted {
            break (handled, dead);
        }
        assert!(
            handled + dead < accepted,
            "{handled} + {dead} of {accepted}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{handled} + {dead} of {accepted}"
        );
        runtime.sleep(Duration::from_millis(10)).await;
    };
    assert!(handled > 50 && dead > 20, "{handled} + {dead}");
    let letters = running.dead_letters(SERVICE).await.unwrap();
    assert_eq!(letters.len() as i64, dead);
    for letter in letters {
        assert!(
            letter.message().is_some() && !letter.error.contains('\0'),
            "{letter:?}"
        );
    }
}
