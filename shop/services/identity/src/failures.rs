//! Too many wrong passwords for one account from one address: nothing is tried for a while.
//!
//! Kept in the cache, where sessions are; without it nobody could sign in anyway.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wingbeat::Result;
use wingbeat::cache::Durability;
use wingbeat::http::{DescribeRequest, Problem};
use wingbeat::scope::ServiceContext;

use crate::Config;
use crate::domain::fold;

/// Where the request comes from: the peer, or behind our gateway whom it names.
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

impl DescribeRequest for Address {}

/// Where a gateway of ours may be. Whoever reaches the port from the internet says what he likes.
fn is_of_our_network(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private() || peer.is_link_local(),
        IpAddr::V6(peer) => {
            peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local()
        }
    }
}

/// The wrong passwords for one account from one address.
pub struct Failures<'a> {
    config: &'a Config,
    service: &'a ServiceContext,
    key: String,
}

impl<'a> Failures<'a> {
    /// For this account and address. The cache learns neither.
    #[must_use]
    pub fn new(
        config: &'a Config,
        service: &'a ServiceContext,
        email: &str,
        address: &Address,
    ) -> Self {
        let who = format!("{}\n{}", fold(email), address.0);
        let key = hex::encode(Sha256::digest(who));
        Self {
            config,
            service,
            key,
        }
    }

    fn counter(&self) -> String {
        format!("login-failures:{}", self.key)
    }

    fn block(&self) -> String {
        format!("login-blocked:{}", self.key)
    }

    /// Refuses while there were too many.
    ///
    /// # Errors
    ///
    /// 429 with the seconds left; the cache's.
    pub async fn check(&self) -> Result<(), Problem> {
        if !self.config.rate_limits {
            return Ok(());
        }
        let Some(until) = self.service.cache.get(&self.block()).await? else {
            return Ok(());
        };
        let until: i64 = String::from_utf8_lossy(&until).parse().unwrap_or_default();
        let left = (until - self.service.runtime.now().as_millis()).max(0) / 1_000 + 1;
        let problem = Problem::new(
            429,
            "too_many_failed_logins",
            "too many wrong passwords; wait a while",
        );
        Err(problem.retry_after(left.unsigned_abs()))
    }

    /// Counts one more.
    ///
    /// # Errors
    ///
    /// The cache's.
    pub async fn count(&self) -> Result<()> {
        if !self.config.rate_limits {
            return Ok(());
        }
        let cache = &self.service.cache;
        let window = self.config.failures_window;
        if cache.hit(&self.counter(), window).await? < self.config.failures_max {
            return Ok(());
        }
        let until = (self.service.runtime.now() + window).as_millis();
        let until = Bytes::from(until.to_string());
        cache
            .put(&self.block(), until, window, Durability::Restart)
            .await
    }
}
