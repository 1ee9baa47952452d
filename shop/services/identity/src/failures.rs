//! The limit on wrong passwords for one account from one address.
//!
//! The counters are in the cache, like the sessions, without which nobody can sign in either.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wingbeat::Result;
use wingbeat::Scope;
use wingbeat::cache::Durability;
use wingbeat::http::Problem;

use crate::Config;
use crate::domain::fold;

/// The caller's address: the peer's, or behind our gateway the one that the gateway forwards.
#[derive(Clone, Debug)]
pub struct Address(pub String);

impl FromRequestParts<crate::State> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &crate::State,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let trusted = state.config.trust_forwarded && peer.is_some_and(is_of_our_network);
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back();
        let forwarded = forwarded
            .filter(|_| trusted)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.rsplit(',').next())
            .map(|address| address.trim().to_owned());
        let peer = || peer.map_or_else(|| "-".into(), |peer| peer.to_string());
        Ok(Self(forwarded.unwrap_or_else(peer)))
    }
}

/// Returns whether the peer can be our gateway. A caller from the internet could forge the header.
fn is_of_our_network(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private() || peer.is_link_local(),
        IpAddr::V6(peer) => {
            peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local()
        }
    }
}

/// The count of wrong passwords for one account from one address.
pub struct Failures<'a> {
    config: &'a Config,
    scope: &'a Scope,
    key: String,
}

impl<'a> Failures<'a> {
    /// The count for an account and an address. The cache key contains only a digest of both.
    #[must_use]
    pub fn new(config: &'a Config, scope: &'a Scope, email: &str, address: &Address) -> Self {
        let who = format!("{}\n{}", fold(email), address.0);
        let key = hex::encode(Sha256::digest(who));
        Self { config, scope, key }
    }

    fn counter(&self) -> String {
        format!("login-failures:{}", self.key)
    }

    fn block(&self) -> String {
        format!("login-blocked:{}", self.key)
    }

    /// Refuses a sign-in after too many wrong passwords.
    ///
    /// # Errors
    ///
    /// 429 `too_many_failed_logins` with the seconds that are left; 503 if the cache is
    /// unavailable.
    pub async fn check(&self) -> Result<(), Problem> {
        if !self.config.rate_limits {
            return Ok(());
        }
        let Some(until) = self.scope.cache().get(&self.block()).await? else {
            return Ok(());
        };
        let until: i64 = String::from_utf8_lossy(&until).parse().unwrap_or_default();
        let left = (until - self.scope.runtime().now().as_millis()).max(0) / 1_000 + 1;
        let problem = Problem::new(
            429,
            "too_many_failed_logins",
            "too many wrong passwords; try again later",
        );
        Err(problem.retry_after(left.unsigned_abs()))
    }

    /// Counts a wrong password.
    ///
    /// # Errors
    ///
    /// A `cache_*` code if the cache is unavailable.
    pub async fn count(&self) -> Result<()> {
        if !self.config.rate_limits {
            return Ok(());
        }
        let cache = self.scope.cache();
        let window = self.config.failures_window;
        if cache.hit(&self.counter(), window).await? < self.config.failures_max {
            return Ok(());
        }
        let until = (self.scope.runtime().now() + window).as_millis();
        let until = Bytes::from(until.to_string());
        cache
            .put(&self.block(), until, window, Durability::Restart)
            .await
    }
}
