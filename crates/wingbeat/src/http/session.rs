//! Sessions in the shared cache: every service knows the caller without asking another service.
//!
//! The cache keeps a session under `session:<sha256 of the token>` until 30 minutes after its last
//! use, and for 24 hours at most. No server stores the token, and a session says nothing about the
//! user but the id. The key `sessions-ended:<user>` ends all sessions of a user at once (after a
//! changed password, for example) without listing them: it contains a new generation, and sessions
//! of other generations have ended. Clocks do not decide it, so they may differ and be corrected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::signature::SignedText;
use wingbeat_core::{
    Cache, Error, LogLimit, Name, Result, RuntimeExt as _, Signature, Signatures, Timestamp,
};

use super::audit::Action;
use super::host::is_same_site;
use crate::{decode, encode};

/// The name of the session cookie.
pub const COOKIE: &str = "wingbeat_session";
/// The name of the session cookie behind TLS. Browsers take a cookie with this prefix only from the
/// host itself, over TLS and for all paths, so that no other host can plant one.
pub const SECURE_COOKIE: &str = "__Host-wingbeat_session";
/// The time after its last use at which a session ends.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// The time after its start at which a session ends, used or not.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The attempts of a change against other changes of the same session.
const ATTEMPTS: usize = 16;
/// The time for which the mark of a replaced session is kept. Only its absence matters.
const MARK: Duration = Duration::from_secs(1);
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
    /// The generation of the user's sessions in which the session started: the nil UUID if none
    /// had been ended. `None` if an older release started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Uuid>,
    /// SHA-256 of the token: part of the session's key in the cache.
    pub digest: String,
    /// The issuer's signature of the other fields, except the claims and the time of the last use;
    /// see [`Sessions::with_issuer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Signature>,
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

    /// Returns the bytes that the issuer signs. The digest binds them to the key in the cache.
    fn signed_text(&self) -> Vec<u8> {
        SignedText::new("wingbeat session v1")
            .field(self.digest.as_bytes())
            .field(self.user_id.to_string().as_bytes())
            .field(self.admin.to_string().as_bytes())
            .field(self.created_at.as_micros().to_string().as_bytes())
            .field(self.generation.unwrap_or_default().as_bytes())
            .into_bytes()
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
    only_secure_cookies: bool,
    issuer: Option<(Arc<dyn Signatures>, Name)>,
    /// Limits the log lines about sessions that cannot be read.
    unreadable: Arc<LogLimit>,
}

impl Sessions {
    /// Returns the sessions in this cache.
    #[must_use]
    pub fn new(cache: Arc<dyn Cache>, runtime: SharedRuntime) -> Self {
        Self {
            cache,
            runtime,
            only_secure_cookies: false,
            issuer: None,
            unreadable: Arc::new(LogLimit::new(1, Duration::from_secs(5))),
        }
    }

    /// Sets whether a cookie without the prefix of [`SECURE_COOKIE`] is ignored. Set it for sites
    /// behind TLS: any neighbouring host can plant a cookie without the prefix.
    #[must_use]
    pub fn with_only_secure_cookies(self, only_secure_cookies: bool) -> Self {
        Self {
            only_secure_cookies,
            ..self
        }
    }

    /// Accepts only sessions that a service has issued, and signs those that it starts with its
    /// key. Without this, a client that may write to the cache can sign in as anybody.
    #[must_use]
    pub fn with_issuer(self, signatures: Arc<dyn Signatures>, issuer: Name) -> Self {
        Self {
            issuer: Some((signatures, issuer)),
            ..self
        }
    }

    /// Returns whether the issuer has signed a session.
    fn is_issued(&self, session: &Session) -> bool {
        let Some((signatures, issuer)) = &self.issuer else {
            return true;
        };
        let text = session.signed_text();
        let proof = session.proof.as_ref();
        proof.is_some_and(|proof| signatures.verifies(issuer.as_str(), &text, proof))
    }

    /// Returns the token in the session cookie of a request. [`SECURE_COOKIE`] has precedence.
    /// `None` if a request has several values: another host may have planted one of them.
    #[must_use]
    pub fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        match cookies(headers, SECURE_COOKIE) {
            Cookies::None if !self.only_secure_cookies => cookies(headers, COOKIE).one(),
            found => found.one(),
        }
    }

    /// Returns the token of a request, and `true` if it comes from the cookie. A bearer token has
    /// precedence.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Option<(&'a str, bool)> {
        let bearer = bearer(headers).map(|token| (token, false));
        bearer.or_else(|| self.cookie(headers).map(|token| (token, true)))
    }

    /// Starts a session and returns its token, which no server stores.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn start(&self, user_id: Uuid, admin: bool) -> Result<(String, Session)> {
        let now = self.runtime.now();
        let ended = self.cache.get(&ended_key(user_id)).await?;
        let ended = ended.and_then(|body| decode::<Ended>(&body).ok());
        self.begin(Session {
            user_id,
            admin,
            created_at: now,
            seen_at: now,
            claims: BTreeMap::new(),
            generation: Some(ended.and_then(|it| it.generation).unwrap_or_default()),
            digest: String::new(),
            proof: None,
        })
        .await
    }

    /// Replaces the token of a session and restarts its lifetime. Ends the old token and all other
    /// sessions of the user. Returns `None` if the session has ended: a sign-out at the same time
    /// ends the new session too.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached; `contended` if other requests change the
    /// session all the time.
    pub async fn renew(&self, session: &Session) -> Result<Option<(String, Session)>> {
        for _ in 0..ATTEMPTS {
            let Some(current) = self.current(&session.digest).await? else {
                return Ok(None);
            };
            let now = self.runtime.now();
            let (token, renewed) = self
                .begin(Session {
                    created_at: now,
                    seen_at: now,
                    ..current.session.clone()
                })
                .await?;
            // The old session makes way for the new one only if it has not ended meanwhile.
            let (old, ended) = (key(&session.digest), Bytes::new());
            let swapped =
                self.cache
                    .replace(&old, Some(current.body), ended, MARK, Durability::Restart);
            if swapped.await? {
                let spared = Some((&current.session, renewed.digest.as_str()));
                self.end_earlier(session.user_id, spared, false).await?;
                return Ok(Some((token, renewed)));
            }
            self.end(&renewed).await?;
        }
        Err(contended())
    }

    /// Stores a session under a new token.
    async fn begin(&self, session: Session) -> Result<(String, Session)> {
        let mut secret = [0_u8; 32];
        self.runtime.fill_secret(&mut secret);
        let token = hex::encode(secret);
        let digest = digest(&token);
        let mut session = Session { digest, ..session };
        if let Some((signatures, issuer)) = &self.issuer {
            session.proof = signatures.sign(*issuer, &session.signed_text());
        }
        let ttl = self.time_left(&session);
        let body = encode(&session);
        self.cache
            .put(&key(&session.digest), body, ttl, Durability::Restart)
            .await?;
        Ok((token, session))
    }

    /// Returns the time after which the session ends if it is not used again.
    fn time_left(&self, session: &Session) -> Duration {
        IDLE.min((session.created_at + LIFE).since(self.runtime.now()))
    }

    /// Returns the session of a token and prolongs it.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached.
    pub async fn find(&self, token: &str) -> Result<Option<Session>> {
        let Some(current) = self.current(&digest(token)).await? else {
            return Ok(None);
        };
        let now = self.runtime.now();
        // One of both is zero. The clock that wrote it may be ahead of this one.
        let seen_at = current.session.seen_at;
        if now.since(seen_at).max(seen_at.since(now)) < PROLONG_AFTER {
            return Ok(Some(current.session));
        }
        let session = Session {
            seen_at: now,
            ..current.session.clone()
        };
        if self.store(&current, &session).await? {
            return Ok(Some(session));
        }
        // Another request has changed the session, which prolongs it too, or has ended it.
        let current = self.current(&session.digest).await?;
        Ok(current.map(|current| current.session))
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

    /// Ends all other sessions of the user that have started.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached; `contended` if other requests end
    /// sessions of the user all the time.
    pub async fn end_others(&self, session: &Session) -> Result<()> {
        let spared = Some((session, session.digest.as_str()));
        self.end_earlier(session.user_id, spared, false).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    ///
    /// Those of [`end_others`](Self::end_others).
    pub async fn end_all(&self, user: Uuid) -> Result<()> {
        self.end_earlier(user, None, false).await
    }

    /// Ends all sessions of a user who has been removed, and those that a sign-in in flight starts
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Those of [`end_others`](Self::end_others).
    pub async fn end_for_good(&self, user: Uuid) -> Result<()> {
        self.end_earlier(user, None, true).await
    }

    /// Adds a mark that ends the sessions of a user, except the one with a digest. A mark never
    /// revives what an earlier mark has ended, whatever the order in which they are written: the
    /// exception counts only if the session beside the digest has not ended.
    async fn end_earlier(
        &self,
        user: Uuid,
        except: Option<(&Session, &str)>,
        for_good: bool,
    ) -> Result<()> {
        let key = ended_key(user);
        for _ in 0..ATTEMPTS {
            let found = self.cache.get(&key).await?;
            let earlier = found.as_ref().and_then(|body| decode::<Ended>(body).ok());
            let spared = except.filter(|(session, _)| {
                let earlier = earlier.as_ref();
                !earlier.is_some_and(|earlier| earlier.ends(session))
            });
            let now = self.runtime.now();
            let ended = Ended {
                for_good: for_good || earlier.as_ref().is_some_and(|it| it.for_good),
                before: earlier.map_or(now, |earlier| earlier.before.max(now)),
                except: spared.map_or_else(String::new, |(_, digest)| digest.into()),
                generation: Some(self.runtime.id()),
            };
            let ended = encode(&ended);
            let added = self
                .cache
                .replace(&key, found, ended, LIFE, Durability::Restart);
            if added.await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Changes the stored session: reads it, applies `change`, and stores the result if it differs.
    /// If the session changes meanwhile, it does so again. Does nothing if the session has ended,
    /// or ends meanwhile.
    ///
    /// The cache may lose sessions: use claims for hints, not for facts that must last.
    ///
    /// # Errors
    ///
    /// `cache_unavailable` if the cache cannot be reached; `contended` if other requests change the
    /// session all the time.
    pub async fn update(
        &self,
        session: &Session,
        change: impl Fn(&mut Session) + Send,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(current) = self.current(&session.digest).await? else {
                return Ok(());
            };
            let mut changed = current.session.clone();
            change(&mut changed);
            if changed == current.session || self.store(&current, &changed).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Replaces a session that was read. Returns `false` if it has changed or ended since: a
    /// request in flight must not bring back a session that ended meanwhile.
    async fn store(&self, current: &Current, changed: &Session) -> Result<bool> {
        let (key, expected) = (key(&changed.digest), Some(current.body.clone()));
        let (body, ttl) = (encode(changed), self.time_left(changed));
        self.cache
            .replace(&key, expected, body, ttl, Durability::Restart)
            .await
    }

    /// Returns the stored session, unless it has ended.
    async fn current(&self, digest: &str) -> Result<Option<Current>> {
        let Some(body) = self.cache.get(&key(digest)).await? else {
            return Ok(None);
        };
        let Ok(session) = decode::<Session>(&body) else {
            return Ok(None);
        };
        // An entry that was copied from another key is not this session.
        let foreign = session.digest != digest || !self.is_issued(&session);
        let expired = foreign || self.time_left(&session).is_zero();
        let ended = self.cache.get(&ended_key(session.user_id)).await?;
        let ended = ended.and_then(|body| decode::<Ended>(&body).ok());
        let has_ended = expired || ended.is_some_and(|ended| ended.ends(&session));
        Ok((!has_ended).then_some(Current { session, body }))
    }
}

/// A session as it was read.
struct Current {
    session: Session,
    /// Its bytes in the cache. A change is stored only if they are still there.
    body: Bytes,
}

/// A mark that ends the sessions of a user of all generations but one, except one session.
///
/// The mark outlives the sessions that it ends: the cache forgets an unused session after
/// [`IDLE`]. A generation is a unique id instead of a number, because a number that starts again
/// after the mark has expired would not end sessions of a higher one.
#[derive(Serialize, Deserialize)]
struct Ended {
    /// The time of the mark, for sessions and processes of a release without generations.
    before: Timestamp,
    except: String,
    /// The generation that sessions start in from now on. `None` if an older release wrote the
    /// mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<Uuid>,
    /// No session of the user is alive, whatever its generation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    for_good: bool,
}

impl Ended {
    fn ends(&self, session: &Session) -> bool {
        if self.for_good {
            return true;
        }
        let is_earlier = match (session.generation, self.generation) {
            (Some(of_session), Some(current)) => of_session != current,
            _ => session.created_at <= self.before,
        };
        is_earlier && session.digest != self.except
    }
}

fn contended() -> Error {
    Error::retry("contended", "other requests change the session")
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

/// Returns the bearer token of a request.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let is_only = values.next().is_none();
    (is_only && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// The values of a cookie.
enum Cookies<'a> {
    None,
    One(&'a str),
    Several,
}

impl<'a> Cookies<'a> {
    fn one(self) -> Option<&'a str> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Several => None,
        }
    }
}

/// Returns the values of a cookie of a request.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> Cookies<'a> {
    let lines = headers.get_all(header::COOKIE).iter();
    let values = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name);
    values.fold(Cookies::None, |known, (_, value)| match known {
        Cookies::None => Cookies::One(value),
        Cookies::One(known) if known == value => Cookies::One(value),
        _ => Cookies::Several,
    })
}

/// A middleware that looks up the session once, for all extractors behind it.
///
/// It logs each write that was carried out through a route with the extractor
/// [`Admin`](super::Admin): target `audit`, with the user, the method, the path and the status.
pub async fn identify(
    axum::extract::State(sessions): axum::extract::State<Sessions>,
    mut request: Request,
    next: Next,
) -> Response {
    let same_site = is_same_site(request.headers(), request.uri());
    let state = match sessions.token(request.headers()) {
        None => SessionState::Nobody,
        Some((_, true)) if is_write(request.method()) && !same_site => SessionState::CrossSite,
        Some((token, _)) => match sessions.find(token).await {
            Ok(Some(session)) => SessionState::SignedIn(session),
            Ok(None) => SessionState::Nobody,
            Err(why) => {
                if let Some(suppressed) = sessions.unreadable.admit(sessions.runtime.elapsed()) {
                    tracing::warn!(suppressed, "sessions cannot be read: {why}");
                }
                SessionState::Unavailable
            }
        },
    };
    let action = match &state {
        SessionState::SignedIn(session) if session.admin && is_write(request.method()) => {
            Some(Action::new(session.user_id, &mut request))
        }
        _ => None,
    };
    request.extensions_mut().insert(state);
    let answer = next.run(request).await;
    if let Some(action) = action {
        action.log(answer.status());
    }
    answer
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
