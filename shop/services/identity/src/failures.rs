//! The limits on wrong passwords: for one account from one address, from one address at all
//! accounts, and for one account from all addresses.
//!
//! The counts are in the cache, like the sessions, without which nobody can sign in either. Every
//! route that checks a password uses the same counts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use shop_contracts::UserId;
use wingbeat::cache::Durability;
use wingbeat::http::{DescribeRequest, Problem};
use wingbeat::network::is_private;
use wingbeat::telemetry::LogLimit;
use wingbeat::{Result, Scope};

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
        // Our gateway is in our network. A caller from the internet could forge the header.
        let trusted = state.config.trust_forwarded && peer.is_some_and(is_private);
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

impl Address {
    /// Returns the address, or the network of an IPv6 address: one caller has a whole /64.
    #[must_use]
    pub fn network(&self) -> String {
        match self.0.parse::<IpAddr>().map(|it| it.to_canonical()) {
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            Ok(address) => address.to_string(),
            Err(_) => self.0.clone(),
        }
    }
}

impl DescribeRequest for Address {}

/// The log of refused passwords. An attack cannot fill it.
#[derive(Clone, Debug)]
pub struct Refusals(Arc<LogLimit>);

impl Default for Refusals {
    /// Twenty lines at once, and one each second afterwards.
    fn default() -> Self {
        Self(Arc::new(LogLimit::new(20, Duration::from_secs(1))))
    }
}

/// The limits on the guesses of one caller at one account.
pub struct Failures<'a> {
    refusals: &'a Refusals,
    config: &'a Config,
    scope: &'a Scope,
    limits: [Limit; 3],
}

/// A limit: the key of its count in the cache, and the failures that block further attempts.
struct Limit {
    key: String,
    failures_max: u64,
}

/// The failed attempts within a window, and those that have not ended.
#[derive(Clone, Copy, Default)]
struct Count {
    failures: u64,
    /// The end of the window, in milliseconds.
    ends: i64,
    /// The end of the time in which attempts are blocked, in milliseconds; 0 if they are not.
    blocked_until: i64,
}

impl Count {
    fn encode(self) -> Bytes {
        let Self {
            failures,
            ends,
            blocked_until,
        } = self;
        format!("{failures} {ends} {blocked_until}").into()
    }

    fn decode(body: &Bytes) -> Option<Self> {
        let mut words = std::str::from_utf8(body).ok()?.split(' ');
        Some(Self {
            failures: words.next()?.parse().ok()?,
            ends: words.next()?.parse().ok()?,
            blocked_until: words.next()?.parse().ok()?,
        })
    }
}

/// An attempt. It counts as failed unless it succeeds, whatever becomes of it.
#[must_use]
pub struct Attempt<'a>(&'a Failures<'a>);

impl<'a> Failures<'a> {
    /// Returns the limits for an account and an address. The keys in the cache contain only digests
    /// of both.
    #[must_use]
    pub fn new(
        (refusals, config): (&'a Refusals, &'a Config),
        scope: &'a Scope,
        email: &str,
        address: &Address,
    ) -> Self {
        let (account, network) = (fold(email), address.network());
        let limit = |kind: &str, of: &str, failures_max| Limit {
            key: format!("login-failures:{kind}:{}", hex::encode(Sha256::digest(of))),
            failures_max,
        };
        let both = format!("{account}\n{network}");
        // The address first: once it is blocked, its attempts at other accounts are not counted.
        let limits = [
            limit("address", &network, config.address_failures_max),
            limit("both", &both, config.failures_max),
            limit("account", &account, config.account_failures_max),
        ];
        Self {
            refusals,
            config,
            scope,
            limits,
        }
    }

    /// Logs the code of a refusal, with the user if the account exists. The account and the address
    /// are personal data.
    pub fn log(&self, code: &'static str, user: Option<UserId>) {
        let Some(suppressed) = self.refusals.0.admit(self.scope.runtime().elapsed()) else {
            return;
        };
        let user = user.map(tracing::field::display);
        tracing::warn!(code, user, suppressed, "a password was refused");
    }

    /// Checks that attempts are not blocked. It counts nothing and writes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`attempt`](Self::attempt).
    pub async fn check(&self) -> Result<(), Problem> {
        if !self.config.rate_limits {
            return Ok(());
        }
        let now = self.now();
        for limit in &self.limits {
            let found = self.scope.cache().get(&limit.key).await?;
            let count = found.as_ref().and_then(Count::decode).unwrap_or_default();
            if count.blocked_until > now {
                return Err(self.blocked(count.blocked_until));
            }
        }
        Ok(())
    }

    /// Begins an attempt. It counts as failed from now on, so that concurrent attempts cannot
    /// exceed the limit.
    ///
    /// # Errors
    ///
    /// 429 `too_many_failed_logins` with the seconds that are left; 503 if the cache is
    /// unavailable.
    pub async fn attempt(&self) -> Result<Attempt<'_>, Problem> {
        if !self.config.rate_limits {
            return Ok(Attempt(self));
        }
        for (at, limit) in self.limits.iter().enumerate() {
            let blocked_until = match self.begin(limit).await {
                Ok(()) => continue,
                Err(Blocked::Until(until)) => until,
                Err(Blocked::Unknown(why)) => return Err(why.into()),
            };
            // The attempt does not take place, so it fails nowhere.
            for begun in &self.limits[..at] {
                self.succeed(begun).await?;
            }
            return Err(self.blocked(blocked_until));
        }
        Ok(Attempt(self))
    }

    fn blocked(&self, until: i64) -> Problem {
        const CODE: &str = "too_many_failed_logins";
        self.log(CODE, None);
        let left = (until - self.now()).max(0) / 1_000 + 1;
        let problem = Problem::new(429, CODE, "too many wrong passwords; try again later");
        problem.retry_after(left.unsigned_abs())
    }

    fn now(&self) -> i64 {
        self.scope.runtime().now().as_millis()
    }

    /// Counts an attempt, unless attempts are blocked.
    async fn begin(&self, limit: &Limit) -> Result<(), Blocked> {
        let window = i64::try_from(self.config.failures_window.as_millis()).unwrap_or(i64::MAX);
        let blocked = self.change(limit, |count, now| {
            if count.blocked_until > now {
                return Some(count.blocked_until);
            }
            if count.ends <= now {
                *count = Count {
                    ends: now.saturating_add(window),
                    ..Count::default()
                };
            }
            count.failures += 1;
            if count.failures >= limit.failures_max {
                count.blocked_until = now.saturating_add(window);
            }
            None
        });
        match blocked.await.map_err(Blocked::Unknown)? {
            Some(until) => Err(Blocked::Until(until)),
            None => Ok(()),
        }
    }

    /// Withdraws an attempt that did not fail. A count of zero is removed.
    async fn succeed(&self, limit: &Limit) -> Result<()> {
        let withdrawn = self.change(limit, |count, _| {
            count.failures = count.failures.saturating_sub(1);
            if count.failures < limit.failures_max {
                count.blocked_until = 0;
            }
            None::<()>
        });
        withdrawn.await.map(drop)
    }

    /// Changes a count, against concurrent changes. Stores nothing if `change` returns a value.
    async fn change<T>(
        &self,
        limit: &Limit,
        change: impl Fn(&mut Count, i64) -> Option<T>,
    ) -> Result<Option<T>> {
        let cache = self.scope.cache();
        loop {
            let found = cache.get(&limit.key).await?;
            let count = found.as_ref().and_then(Count::decode);
            let (mut count, now) = (count.unwrap_or_default(), self.now());
            if let Some(refused) = change(&mut count, now) {
                return Ok(Some(refused));
            }
            let left = if count.failures == 0 {
                1 // A removal could undo an attempt that begins meanwhile.
            } else {
                count.ends.max(count.blocked_until) - now
            };
            let left = Duration::from_millis(left.max(1).unsigned_abs());
            let body = count.encode();
            let stored = cache.replace(&limit.key, found, body, left, Durability::Restart);
            if stored.await? {
                return Ok(None);
            }
        }
    }
}

/// The reason why an attempt cannot begin.
enum Blocked {
    /// Attempts are blocked until this time, in milliseconds.
    Until(i64),
    /// The count cannot be read or written.
    Unknown(wingbeat::Error),
}

impl Attempt<'_> {
    /// Withdraws the attempt from the counts: the password was right.
    ///
    /// # Errors
    ///
    /// A `cache_*` code if the cache is unavailable.
    pub async fn succeeded(self) -> Result<()> {
        let Self(failures) = self;
        if failures.config.rate_limits {
            for limit in &failures.limits {
                failures.succeed(limit).await?;
            }
        }
        Ok(())
    }
}
