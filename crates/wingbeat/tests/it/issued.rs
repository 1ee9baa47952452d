//! Sessions that only their issuer can start: whoever may write to the cache cannot sign in.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wingbeat::cache::Durability;
use wingbeat::http::session::{Session, Sessions};
use wingbeat::ports::Cache;
use wingbeat::test::{Model, Simulation};
use wingbeat::trust::Ed25519;
use wingbeat::{Name, Runtime as _};

const ADA: Uuid = Uuid::from_u128(1);
const ISSUER: Name = Name::new("identity");

/// A cache, and sessions in it of identity, of another service, and of a system without keys.
struct World {
    simulation: Simulation,
    cache: Arc<dyn Cache>,
    identity: Sessions,
    carts: Sessions,
    without_keys: Sessions,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let cache: Arc<dyn Cache> = Model::new(simulation.runtime()).cache;
        let sessions = Sessions::new(cache.clone(), simulation.runtime());
        let all = Arc::new(Ed25519::generated(["identity", "carts"]));
        let verifying = all.verifying();
        Self {
            simulation,
            cache,
            identity: sessions.clone().with_issuer(all, ISSUER),
            carts: sessions.clone().with_issuer(Arc::new(verifying), ISSUER),
            without_keys: sessions,
        }
    }

    fn finds(&self, sessions: &Sessions, token: &str) -> bool {
        let found = self.simulation.run(sessions.find(token));
        found.expect("the cache reads").is_some()
    }

    /// Writes an entry under the key of a token, as a program with access to the cache can.
    fn write(&self, token: &str, session: &Session) {
        let key = format!("session:{}", digest(token));
        let body = serde_json::to_vec(session).expect("it encodes").into();
        let day = Duration::from_secs(24 * 3_600);
        let written = self.cache.put(&key, body, day, Durability::Restart);
        self.simulation.run(written).expect("the cache writes");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[test]
fn a_session_of_the_issuer_is_accepted_prolonged_and_renewed_everywhere() {
    let world = World::new();
    let started = world.simulation.run(world.identity.start(ADA, false));
    let (token, session) = started.expect("the cache writes");
    assert!(world.finds(&world.carts, &token));
    let set = |session: &mut Session| session.set_claim("cart_version", 3);
    let updated = world.simulation.run(world.carts.update(&session, set));
    updated.expect("the cache writes");
    let pause = world.simulation.sleep(Duration::from_secs(20 * 60));
    world.simulation.run(pause);
    assert!(world.finds(&world.carts, &token), "it is prolonged");
    let renewed = world.simulation.run(world.identity.renew(&session));
    let (new, _) = renewed
        .expect("the cache writes")
        .expect("it has not ended");
    assert!(world.finds(&world.carts, &new) && !world.finds(&world.carts, &token));
}

#[test]
fn an_entry_that_the_issuer_has_not_signed_signs_nobody_in() {
    let world = World::new();
    let started = world.simulation.run(world.identity.start(ADA, false));
    let (token, real) = started.expect("the cache writes");
    let of = |token: &str, session: Session| Session {
        digest: digest(token),
        ..session
    };
    let admin = Session {
        admin: true,
        ..real.clone()
    };
    let unsigned = Session {
        proof: None,
        ..admin.clone()
    };
    let other = Session {
        user_id: Uuid::from_u128(2),
        ..real.clone()
    };
    let forgeries = [
        ("a copy under another key", "a", real.clone()),
        ("a copy with the other digest", "b", of("b", real.clone())),
        ("an unsigned entry", "c", of("c", unsigned)),
        ("the own session as the admin's", &token, admin),
        ("the own session as another user's", &token, other),
    ];
    for (how, token, forged) in forgeries {
        world.write(token, &forged);
        for sessions in [&world.carts, &world.identity] {
            assert!(!world.finds(sessions, token), "{how}");
        }
    }
    world.write(&token, &real);
    assert!(world.finds(&world.carts, &token));
}

#[test]
fn a_service_that_is_not_the_issuer_starts_no_session() {
    let world = World::new();
    let started = world.simulation.run(world.carts.start(ADA, true));
    let (token, _) = started.expect("the cache writes");
    assert!(!world.finds(&world.identity, &token));
}

/// The negative control: without keys, an entry in the cache suffices.
#[test]
fn without_an_issuer_whoever_writes_to_the_cache_can_sign_in() {
    let world = World::new();
    let started = world.simulation.run(world.without_keys.start(ADA, false));
    let (_, session) = started.expect("the cache writes");
    let forged = Session {
        admin: true,
        digest: digest("x"),
        ..session
    };
    world.write("x", &forged);
    assert!(world.finds(&world.without_keys, "x"));
}
