//! Sessions in the shared cache: every service knows the caller without asking another service.
//!
//! The cache keeps a session under `session:<sha256 of the token>` until 30 minutes after its last
//! use, and for 24 hours at most. No server stores the token, and a session says nothing about the
//! user but the id. The key `sessions-ended:<user>` ends all sessions of a user at once (after a
//! changed password, for example) without listing them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Result, Timestamp};

use crate::{decode, encode};

/// The name of the session cookie.
pub const COOKIE: &str = "wingbeat_session";
/// The time after its last use at which a session ends.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// The time after its start at which a session ends, used or not.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The least time between two writes that prolong a session. It spares the cache.
const PROLONG_AFTER: Duration = Duration::from_secs(60);

/// A signed-in user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id of the user.
    pub user_id: Uuid,
    /// `true` if the user may use `/admin`.
    pub admin: bool,
    /// The time at which the session started.
    pub created_at: Timestamp,
    /// The time at which the session was last prolonged.
    pub seen_at: Timestamp,
    /// Facts that services attach to the session, by name. See [`Session::claim`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Value>,
    /// SHA-256 of the token: part of the session's key in the cache.
    pub digest: String,
}

impl Session {
    /// Returns a claim. `None` if the session has no claim of this name, or one of another type.
    ///
    /// Services share sessions, so a claim is a contract between those that write it and those that
    /// read it. A service changes claims with [`Sessions::update`].
    #[must_use]
    pub fn claim<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.claims.get(name)?).ok()
    }

    /// Sets a claim of this copy of the session. [`Sessions::update`] stores it.
    pub fn set_claim(&mut self, name: &str, value: impl Into<Value>) {
        self.claims.insert(name.to_owned(), value.into());
    }
}

/// The caller of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionState {
    /// The request has no session, or one that has ended.
    Nobody,
    /// The request has a session.
    SignedIn(Session),
    /// The request is a write with a cookie, and comes from another site.
    CrossSite,
    /// The cache cannot be reached.
    Unavailable,
}

/// Starts, finds and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    cache: Arc<dyn Cache>,
    runtime: SharedRuntime,
}

impl Sessions {
    /// Returns the sessions in this cache.
    #[must_use]
    pub fn new(cache: Arc<dyn Cache>, runtime: SharedRuntime) -> Self {
        Self { cache, runtime }
    }

    /// Starts a session and returns its token, which no server stores.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn start(&self, user_id: Uuid, admin: bool) -> Result<(String, Session)> {
        let now = self.runtime.now();
        self.begin(Session {
            user_id,
            admin,
            created_at: now,
            seen_at: now,
            claims: BTreeMap::new(),
            digest: String::new(),
        })
        .await
    }

    /// Replaces the token of a session and restarts its lifetime. Ends the old token and all other
    /// sessions of the user. Returns `None` if the session has ended.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn renew(&self, session: &Session) -> Result<Option<(String, Session)>> {
        let Some(current) = self.current(&session.digest).await? else {
            return Ok(None);
        };
        let now = self.runtime.now();
        let (token, renewed) = self
            .begin(Session {
                created_at: now,
                seen_at: now,
                ..current
            })
            .await?;
        self.end_others(&renewed).await?;
        Ok(Some((token, renewed)))
    }

    /// Stores a session under a new token.
    async fn begin(&self, session: Session) -> Result<(String, Session)> {
        let mut secret = [0_u8; 32];
        self.runtime.fill_secret(&mut secret);
        let token = hex::encode(secret);
        let digest = digest(&token);
        let session = Session { digest, ..session };
        self.save(&session).await?;
        Ok((token, session))
    }

    /// Stores a session, whatever the cache contains of it. Prefer [`Sessions::update`].
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn save(&self, session: &Session) -> Result<()> {
        let left = (session.created_at + LIFE).since(self.runtime.now());
        let ttl = IDLE.min(left);
        if ttl.is_zero() {
            return self.end(session).await;
        }
        self.cache
            .put(
                &key(&session.digest),
                encode(session),
                ttl,
                Durability::Restart,
            )
            .await
    }

    /// Returns the session of a token and prolongs it.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn find(&self, token: &str) -> Result<Option<Session>> {
        let Some(mut session) = self.current(&digest(token)).await? else {
            return Ok(None);
        };
        let now = self.runtime.now();
        if now.since(session.created_at) >= LIFE {
            return Ok(None);
        }
        if now.since(session.seen_at) >= PROLONG_AFTER {
            session.seen_at = now;
            self.save(&session).await?;
        }
        Ok(Some(session))
    }

    /// Returns `true` if the session has not ended. Long responses, such as streams, check it
    /// again.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn is_alive(&self, session: &Session) -> Result<bool> {
        Ok(self.current(&session.digest).await?.is_some())
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn end(&self, session: &Session) -> Result<()> {
        self.cache.remove(&key(&session.digest)).await
    }

    /// Ends the session of a token, if there is one.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn end_token(&self, token: &str) -> Result<()> {
        self.cache.remove(&key(&digest(token))).await
    }

    /// Ends all other sessions of the user that started before now.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn end_others(&self, session: &Session) -> Result<()> {
        self.end_earlier(session.user_id, session.digest.clone())
            .await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn end_all(&self, user: Uuid) -> Result<()> {
        self.end_earlier(user, String::new()).await
    }

    async fn end_earlier(&self, user: Uuid, except: String) -> Result<()> {
        let ended = Ended {
            before: self.runtime.now(),
            except,
        };
        self.cache
            .put(&ended_key(user), encode(&ended), LIFE, Durability::Restart)
            .await
    }

    /// Changes the stored session: reads it, applies `change`, and stores the result if it differs.
    /// Does nothing if the session has ended.
    ///
    /// Two updates at the same time can lose one of them: the cache is no database. Use claims for
    /// hints that may be missed, not for facts that must last.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn update(
        &self,
        session: &Session,
        change: impl FnOnce(&mut Session) + Send,
    ) -> Result<()> {
        let Some(current) = self.current(&session.digest).await? else {
            return Ok(());
        };
        let mut changed = current.clone();
        change(&mut changed);
        if changed == current {
            return Ok(());
        }
        self.save(&changed).await
    }

    /// Returns the stored session, unless it has ended.
    async fn current(&self, digest: &str) -> Result<Option<Session>> {
        let Some(body) = self.cache.get(&key(digest)).await? else {
            return Ok(None);
        };
        let Ok(session) = decode::<Session>(&body) else {
            return Ok(None);
        };
        let ended = self.cache.get(&ended_key(session.user_id)).await?;
        let ended = ended.and_then(|body| decode::<Ended>(&body).ok());
        let has_ended = ended.is_some_and(|ended| {
            session.created_at <= ended.before && session.digest != ended.except
        });
        Ok((!has_ended).then_some(session))
    }
}

/// A mark that ends the sessions of a user that started by a time, except one.
#[derive(Serialize, Deserialize)]
struct Ended {
    before: Timestamp,
    except: String,
}

fn key(digest: &str) -> String {
    format!("session:{digest}")
}

fn ended_key(user: Uuid) -> String {
    format!("sessions-ended:{user}")
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// Returns the token of a request, and `true` if it comes from the cookie. A bearer token has
/// precedence.
fn token(headers: &HeaderMap) -> Option<(&str, bool)> {
    let bearer = bearer(headers).map(|token| (token, false));
    bearer.or_else(|| cookie(headers).map(|token| (token, true)))
}

/// Returns the bearer token of a request.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    bearer.strip_prefix("Bearer ").map(str::trim)
}

/// Returns the token in the session cookie of a request.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE || *name == "__Host-wingbeat_session")
        .map(|(_, token)| token)
}

/// Returns `true` if a page of this site sent the request: by `Sec-Fetch-Site`, or else by
/// comparing `Origin` with `Host`.
fn same_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text("host"),
        (None, None) => false,
    }
}

/// A middleware that looks up the session once, for all extractors behind it.
pub async fn identify(
    axum::extract::State(sessions): axum::extract::State<Sessions>,
    mut request: Request,
    next: Next,
) -> Response {
    let state = match token(request.headers()) {
        None => SessionState::Nobody,
        Some((_, true)) if is_write(request.method()) && !same_site(request.headers()) => {
            SessionState::CrossSite
        }
        Some((token, _)) => match sessions.find(token).await {
            Ok(Some(session)) => SessionState::SignedIn(session),
            Ok(None) => SessionState::Nobody,
            Err(why) => {
                tracing::warn!("sessions cannot be read: {why}");
                SessionState::Unavailable
            }
        },
    };
    request.extensions_mut().insert(state);
    next.run(request).await
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
