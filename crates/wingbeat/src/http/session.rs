//! Sessions in the shared cache, so that any service knows the caller without asking another.
//!
//! A session lives under `session:<sha256 of the token>`: 30 minutes after its last use, and 24
//! hours at most. The token itself is kept nowhere. `sessions-ended:<user>` says which of a user's
//! sessions ended all at once (a changed password), without having to find them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Result, Timestamp};

use crate::{decode, encode};

/// The cookie's name.
pub const COOKIE: &str = "wingbeat_session";
/// Unused for so long, a session ends.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// A session's longest life.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// A session that was used is prolonged at most this often, to spare the cache.
const PROLONG_AFTER: Duration = Duration::from_secs(60);

/// A signed-in user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub user_id: Uuid,
    /// The name to greet with.
    pub name: String,
    /// May use `/admin`.
    pub admin: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Last prolonged.
    pub seen_at: Timestamp,
    /// The version of the user's cart that this session has been shown.
    #[serde(default)]
    pub cart_version: u64,
    /// SHA-256 of the token: the session's place in the cache.
    pub digest: String,
}

/// What the request says about its caller.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionState {
    /// No session, or one that has ended.
    Nobody,
    /// A session.
    SignedIn(Session),
    /// A write with a cookie, from another site.
    CrossSite,
    /// The cache cannot be asked.
    Away,
}

/// Starts, finds and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    cache: Arc<dyn Cache>,
    runtime: SharedRuntime,
}

impl Sessions {
    /// Sessions in this cache.
    #[must_use]
    pub fn new(cache: Arc<dyn Cache>, runtime: SharedRuntime) -> Self {
        Self { cache, runtime }
    }

    /// Starts a session; the token is returned once and kept nowhere.
    ///
    /// # Errors
    ///
    /// The cache's, here and below.
    pub async fn start(&self, user_id: Uuid, name: &str, admin: bool) -> Result<(String, Session)> {
        let now = self.runtime.now();
        self.begin(Session {
            user_id,
            name: name.into(),
            admin,
            created_at: now,
            seen_at: now,
            cart_version: 0,
            digest: String::new(),
        })
        .await
    }

    /// Goes on under a new token, and with a new life; the old token ends with all other sessions
    /// of the user. `None` when the session itself has ended meanwhile.
    ///
    /// # Errors
    ///
    /// The cache's.
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

    /// Stores a session under a token of its own.
    async fn begin(&self, session: Session) -> Result<(String, Session)> {
        let mut secret = [0_u8; 32];
        self.runtime.fill_secret(&mut secret);
        let token = hex::encode(secret);
        let digest = digest(&token);
        let session = Session { digest, ..session };
        self.save(&session).await?;
        Ok((token, session))
    }

    /// Stores a changed session.
    ///
    /// # Errors
    ///
    /// The cache's.
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

    /// The session of a token, prolonged.
    ///
    /// # Errors
    ///
    /// The cache's.
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

    /// Whether the session has not ended since (for streams).
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn is_alive(&self, session: &Session) -> Result<bool> {
        Ok(self.current(&session.digest).await?.is_some())
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn end(&self, session: &Session) -> Result<()> {
        self.cache.remove(&key(&session.digest)).await
    }

    /// Ends the session of a token, if it has one.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn forget(&self, token: &str) -> Result<()> {
        self.cache.remove(&key(&digest(token))).await
    }

    /// Ends the user's other sessions, wherever they are: none that began before now is found
    /// again.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn end_others(&self, session: &Session) -> Result<()> {
        self.end_earlier(session.user_id, session.digest.clone())
            .await
    }

    /// Ends all of a user's sessions.
    ///
    /// # Errors
    ///
    /// The cache's.
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

    /// Notes the cart's version that the session has been shown. Never lowers it, and does nothing
    /// for a session that has ended since.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn saw_cart(&self, session: &Session, version: u64) -> Result<()> {
        match self.current(&session.digest).await? {
            Some(mut current) if current.cart_version < version => {
                current.cart_version = version;
                self.save(&current).await
            }
            _ => Ok(()),
        }
    }

    /// The session as it is stored, unless it has ended.
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

/// A user's sessions that began by then have ended, except one.
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

/// The token of a request: a bearer token wins over the cookie. `true` when it is the cookie.
fn token(headers: &HeaderMap) -> Option<(&str, bool)> {
    let bearer = bearer(headers).map(|token| (token, false));
    bearer.or_else(|| cookie(headers).map(|token| (token, true)))
}

/// The bearer token of a request.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    bearer.strip_prefix("Bearer ").map(str::trim)
}

/// The token in the cookie of a request.
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

/// A browser's own page, or no browser at all: `Sec-Fetch-Site`, else `Origin` against `Host`.
fn same_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text("host"),
        (None, None) => false,
    }
}

/// Middleware: finds the session once, for all extractors behind it.
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
                SessionState::Away
            }
        },
    };
    request.extensions_mut().insert(state);
    next.run(request).await
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
