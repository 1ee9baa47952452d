//! The lifetime of sessions, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wingbeat::Runtime as _;
use wingbeat::cache::Durability;
use wingbeat::http::session::{IDLE, LIFE, Session, Sessions};
use wingbeat::ports::Cache;
use wingbeat::test::{Model, Simulation};

const MINUTE: Duration = Duration::from_secs(60);
const ADA: Uuid = Uuid::from_u128(1);
const EVE: Uuid = Uuid::from_u128(2);

struct World {
    simulation: Simulation,
    cache: Arc<dyn Cache>,
    sessions: Sessions,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let cache: Arc<dyn Cache> = Model::new(simulation.runtime()).cache;
        let sessions = Sessions::new(Arc::clone(&cache), simulation.runtime());
        Self {
            simulation,
            cache,
            sessions,
        }
    }

    /// Returns the sessions of a process whose clock differs by this many hours.
    fn with_clock(&self, hours: i64) -> Sessions {
        let clock = self.simulation.skewed_group(hours * 3_600_000);
        Sessions::new(Arc::clone(&self.cache), clock)
    }

    fn start(&self, user: Uuid) -> (String, Session) {
        self.start_by(&self.sessions, user)
    }

    fn start_by(&self, sessions: &Sessions, user: Uuid) -> (String, Session) {
        let started = sessions.start(user, false);
        self.simulation.run(started).expect("the cache writes")
    }

    /// Writes an entry of the cache, as another release does.
    fn write(&self, key: &str, entry: &Value) {
        let body = entry.to_string().into();
        let written = self.cache.put(key, body, LIFE, Durability::Restart);
        self.simulation.run(written).expect("the cache writes");
    }

    fn finds(&self, token: &str) -> bool {
        let found = self.simulation.run(self.sessions.find(token));
        found.expect("the cache reads").is_some()
    }

    fn is_alive(&self, session: &Session) -> bool {
        let alive = self.simulation.run(self.sessions.is_alive(session));
        alive.expect("the cache reads")
    }

    fn pass(&self, time: Duration) {
        self.simulation.run(self.simulation.sleep(time));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

#[test]
fn an_unused_session_ends_after_half_an_hour() {
    assert_eq!(IDLE, 30 * MINUTE);
    let world = World::new();
    let (token, session) = world.start(ADA);
    for _ in 0..4 {
        world.pass(IDLE - MINUTE);
        assert!(world.finds(&token), "each use prolongs it");
    }
    world.pass(IDLE);
    assert!(!world.finds(&token) && !world.is_alive(&session));
    let (unused, _) = world.start(ADA);
    world.pass(IDLE);
    assert!(!world.finds(&unused));
}

#[test]
fn a_used_session_ends_after_a_day() {
    assert_eq!(LIFE, 24 * 60 * MINUTE);
    let world = World::new();
    let (token, session) = world.start(ADA);
    for _ in 0..95 {
        world.pass(15 * MINUTE);
        assert!(world.finds(&token));
    }
    world.pass(15 * MINUTE - Duration::from_secs(1));
    assert!(world.finds(&token), "a second before the end");
    world.pass(Duration::from_secs(2));
    assert!(!world.finds(&token) && !world.is_alive(&session));
}

#[test]
fn all_sessions_of_one_user_end_at_once() {
    let world = World::new();
    let (one, other) = (world.start(ADA), world.start(ADA));
    let (eves, _) = world.start(EVE);
    let ended = world.simulation.run(world.sessions.end_all(ADA));
    ended.expect("the cache writes");
    for (token, session) in [&one, &other] {
        assert!(!world.finds(token) && !world.is_alive(session));
    }
    assert!(world.finds(&eves));
    world.pass(Duration::from_millis(1));
    let (later, _) = world.start(ADA);
    assert!(world.finds(&later));
}

#[test]
fn all_other_sessions_of_a_user_end() {
    let world = World::new();
    let (this, other) = (world.start(ADA), world.start(ADA));
    let ended = world.simulation.run(world.sessions.end_others(&this.1));
    ended.expect("the cache writes");
    assert!(world.finds(&this.0) && !world.finds(&other.0));
}

#[test]
fn a_renewed_session_keeps_its_claims_and_ends_the_old_token() {
    let world = World::new();
    let (old, session) = world.start(ADA);
    let (other, _) = world.start(ADA);
    let set = |session: &mut Session| session.set_claim("theme", "dark");
    let updated = world.simulation.run(world.sessions.update(&session, set));
    updated.expect("the cache writes");
    let renewed = world.simulation.run(world.sessions.renew(&session));
    let (new, after) = renewed
        .expect("the cache writes")
        .expect("it has not ended");
    assert_eq!(after.user_id, ADA);
    assert_eq!(after.claim::<String>("theme").as_deref(), Some("dark"));
    assert_eq!(after.claim::<u64>("theme"), None);
    assert!(world.finds(&new) && !world.finds(&old) && !world.finds(&other));
    let again = world.simulation.run(world.sessions.renew(&session));
    assert!(
        again.expect("the cache reads").is_none(),
        "an ended session is not renewed"
    );
}

#[test]
fn an_update_of_an_ended_session_does_not_bring_it_back() {
    let world = World::new();
    let (token, session) = world.start(ADA);
    let ended = world.simulation.run(world.sessions.end(&session));
    ended.expect("the cache writes");
    let set = |session: &mut Session| session.set_claim("theme", "dark");
    let updated = world.simulation.run(world.sessions.update(&session, set));
    updated.expect("the cache reads");
    assert!(!world.finds(&token));
}

#[test]
fn a_session_that_an_older_version_wrote_is_read() {
    let json = r#"{"user_id":"00000000-0000-0000-0000-000000000001","name":"Ada","admin":false,
        "created_at":"2026-01-01T00:00:00Z","seen_at":"2026-01-01T00:00:00Z","cart_version":3,"digest":"d"}"#;
    let session: Session = serde_json::from_str(json).expect("unknown fields are ignored");
    assert_eq!(session.claim::<u64>("cart_version"), None);
}

/// The clocks of processes differ, and are corrected.
#[test]
fn all_sessions_of_a_user_end_whatever_the_clock_of_the_process_that_started_them() {
    let world = World::new();
    for hours in [-2, 0, 2] {
        for ended_by in [-2, 0, 2] {
            let (starting, ending) = (world.with_clock(hours), world.with_clock(ended_by));
            let (stolen, _) = world.start_by(&starting, ADA);
            let ended = world.simulation.run(ending.end_all(ADA));
            ended.expect("the cache writes");
            assert!(!world.finds(&stolen), "{hours} h, ended by {ended_by} h");

            let (stolen, _) = world.start_by(&starting, ADA);
            let (_, own) = world.start_by(&ending, ADA);
            let renewed = world.simulation.run(ending.renew(&own));
            let (own, renewed) = renewed.expect("the cache writes").expect("it is alive");
            assert!(!world.finds(&stolen), "{hours} h, renewed by {ended_by} h");
            assert!(world.finds(&own), "the new token is the exception");

            let ended = world.simulation.run(ending.end_others(&renewed));
            ended.expect("the cache writes");
            let (later, _) = world.start_by(&starting, ADA);
            assert!(
                world.finds(&own) && world.finds(&later),
                "{hours}, {ended_by}"
            );
        }
    }
}

#[test]
fn a_generation_ends_after_the_mark_that_began_it_has_expired() {
    let world = World::new();
    let ended = world.simulation.run(world.sessions.end_all(ADA));
    ended.expect("the cache writes");
    world.pass(LIFE - 10 * MINUTE);
    let (token, _) = world.start(ADA);
    world.pass(20 * MINUTE);
    assert!(world.finds(&token));
    let ended = world.simulation.run(world.sessions.end_all(ADA));
    ended.expect("the cache writes");
    assert!(!world.finds(&token));
}

/// A sign-in that has read the user before the erasure starts its session afterwards.
#[test]
fn no_session_of_a_removed_user_starts() {
    let world = World::new();
    let (before, _) = world.start(ADA);
    let ended = world.simulation.run(world.sessions.end_for_good(ADA));
    ended.expect("the cache writes");
    let (after, session) = world.start(ADA);
    assert!(!world.finds(&before) && !world.finds(&after));
    let ended = world.simulation.run(world.sessions.end_others(&session));
    ended.expect("the cache writes");
    assert!(!world.finds(&after) && !world.finds(&world.start(ADA).0));
}

/// During a rolling upgrade both releases write sessions and marks. The clock decides between them.
#[test]
fn sessions_and_marks_of_an_older_release_end_and_are_ended() {
    let world = World::new();
    let without_generation = |session: &Session| {
        let mut entry = serde_json::to_value(session).expect("it encodes");
        entry
            .as_object_mut()
            .expect("an object")
            .remove("generation");
        world.write(&format!("session:{}", session.digest), &entry);
    };
    let (old, session) = world.start(ADA);
    without_generation(&session);
    assert!(world.finds(&old));
    let ended = world.simulation.run(world.sessions.end_all(ADA));
    ended.expect("the cache writes");
    assert!(!world.finds(&old));
    world.pass(MINUTE);
    let (old, session) = world.start(ADA);
    without_generation(&session);
    assert!(
        world.finds(&old),
        "an older process started it after the mark"
    );

    let now = serde_json::to_value(world.simulation.now()).expect("it encodes");
    let mark = json!({"before": now, "except": ""});
    world.write(&format!("sessions-ended:{ADA}"), &mark);
    assert!(!world.finds(&old));
    world.pass(MINUTE);
    let (new, _) = world.start(ADA);
    assert!(world.finds(&new));
    let ended = world.simulation.run(world.sessions.end_all(ADA));
    ended.expect("the cache writes");
    assert!(!world.finds(&new));
}
