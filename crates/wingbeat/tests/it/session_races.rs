//! Requests in flight while a session ends. The cache runs the other request between the read and
//! the write of the one under test, so that every race happens.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;
use wingbeat::http::session::{Session, Sessions};
use wingbeat::ports::Cache;
use wingbeat::test::{Model, Simulation};
use wingbeat::{Result, Runtime as _, cache::Durability};

const ADA: Uuid = Uuid::from_u128(1);
const MINUTE: Duration = Duration::from_secs(60);

type Other = BoxFuture<'static, ()>;

/// A cache that runs another request after the next read of a session.
struct Racing {
    inner: Arc<dyn Cache>,
    other: Mutex<Option<(&'static str, Other)>>,
}

impl Cache for Racing {
    forward_cache!(ping, put, replace, remove, remove_prefix, hit);

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let key = key.to_owned();
        Box::pin(async move {
            let found = self.inner.get(&key).await;
            let other = self
                .other
                .lock()
                .unwrap()
                .take_if(|(of, _)| key.starts_with(*of));
            if let Some((_, other)) = other {
                other.await;
            }
            found
        })
    }
}

struct World {
    simulation: Simulation,
    racing: Arc<Racing>,
    /// The sessions of the request under test.
    sessions: Sessions,
    /// The sessions of the other request.
    others: Sessions,
    token: String,
    session: Session,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let inner: Arc<dyn Cache> = Model::new(simulation.runtime()).cache;
        let racing = Arc::new(Racing {
            inner: Arc::clone(&inner),
            other: Mutex::default(),
        });
        let sessions = Sessions::new(racing.clone(), simulation.runtime());
        let others = Sessions::new(inner, simulation.runtime());
        let started = simulation.run(others.start(ADA, false));
        let (token, session) = started.unwrap();
        simulation.run(simulation.sleep(2 * MINUTE));
        Self {
            simulation,
            racing,
            sessions,
            others,
            token,
            session,
        }
    }

    /// Runs a request after the next read of a key that starts with `of`.
    fn meanwhile<F>(&self, of: &'static str, other: impl FnOnce(Sessions, Session) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let other = other(self.others.clone(), self.session.clone());
        let other = Box::pin(async move { other.await.unwrap() });
        *self.racing.other.lock().unwrap() = Some((of, other));
    }

    fn run<T>(&self, request: impl Future<Output = Result<T>>) -> T {
        let result = self.simulation.run(request).unwrap();
        let other = self.racing.other.lock().unwrap().take();
        assert!(other.is_none(), "the other request ran in between");
        result
    }

    fn finds(&self, token: &str) -> bool {
        let found = self.simulation.run(self.others.find(token));
        found.unwrap().is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

async fn sign_out(sessions: Sessions, session: Session) -> Result<()> {
    sessions.end(&session).await
}

#[test]
fn a_request_that_prolongs_a_session_does_not_undo_a_sign_out() {
    let world = World::new();
    world.meanwhile("session:", sign_out);
    let found = world.run(world.sessions.find(&world.token));
    assert!(found.is_none(), "the session ended while it was read");
    assert!(!world.finds(&world.token));
}

#[test]
fn a_request_that_changes_a_claim_does_not_undo_a_sign_out() {
    let world = World::new();
    world.meanwhile("session:", sign_out);
    let set = |session: &mut Session| session.set_claim("theme", "dark");
    world.run(world.sessions.update(&world.session, set));
    assert!(!world.finds(&world.token));
}

#[test]
fn a_renewal_does_not_undo_a_sign_out() {
    let world = World::new();
    world.meanwhile("session:", sign_out);
    let renewed = world.run(world.sessions.renew(&world.session));
    assert!(renewed.is_none());
    assert!(!world.finds(&world.token));
}

#[test]
fn concurrent_changes_of_a_session_are_both_kept() {
    let world = World::new();
    world.meanwhile("session:", |sessions, session| async move {
        let set = |session: &mut Session| session.set_claim("theme", "dark");
        sessions.update(&session, set).await
    });
    let set = |session: &mut Session| session.set_claim("cart", 7);
    world.run(world.sessions.update(&world.session, set));
    let found = world.simulation.run(world.others.find(&world.token));
    let found = found.unwrap().unwrap();
    assert_eq!(found.claim::<String>("theme").as_deref(), Some("dark"));
    assert_eq!(found.claim::<u64>("cart"), Some(7));
}

#[test]
fn a_renewal_keeps_a_claim_that_changes_meanwhile() {
    let world = World::new();
    world.meanwhile("session:", |sessions, session| async move {
        let set = |session: &mut Session| session.set_claim("theme", "dark");
        sessions.update(&session, set).await
    });
    let (token, renewed) = world.run(world.sessions.renew(&world.session)).unwrap();
    assert_eq!(renewed.claim::<String>("theme").as_deref(), Some("dark"));
    assert!(world.finds(&token) && !world.finds(&world.token));
}

/// The end of all sessions wins over the end of all but one, in both orders.
#[test]
fn an_exception_does_not_revive_a_session_that_has_ended() {
    let world = World::new();
    world.meanwhile("sessions-ended:", |sessions, session| async move {
        sessions.end_all(session.user_id).await
    });
    world.run(world.sessions.end_others(&world.session));
    assert!(!world.finds(&world.token));
}

#[test]
fn an_entry_under_another_key_is_no_session() {
    let world = World::new();
    let digest = &world.session.digest;
    let stolen = "0".repeat(64);
    let copy = async {
        let cache = &world.racing.inner;
        let body = cache.get(&format!("session:{digest}")).await?;
        let key = format!(
            "session:{}",
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&stolen))
        );
        cache
            .put(&key, body.unwrap(), MINUTE, Durability::Restart)
            .await
    };
    world.simulation.run(copy).unwrap();
    assert!(world.finds(&world.token) && !world.finds(&stolen));
}
