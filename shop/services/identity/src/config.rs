//! Settings.

use std::time::Duration;

/// How users are recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What a password hash costs.
    pub hashing: Hashing,
    /// Off for load tests.
    pub rate_limits: bool,
    /// So many wrong passwords for an account from one address…
    pub failures_max: u64,
    /// …within so long, and that long nothing is tried any more.
    pub failures_window: Duration,
    /// Behind TLS: the cookie is `Secure` and its name says so.
    pub secure_cookies: bool,
    /// The caller's address is the last one in `X-Forwarded-For`, if the peer is of our own network: behind
    /// a gateway of ours only, which takes away what callers say there.
    pub trust_forwarded: bool,
}

/// The parameters of Argon2id, and how many hashes are computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashes at once; each takes a thread and its memory.
    pub concurrency: usize,
    /// The longest wait for one's turn.
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hashing: Hashing::default(),
            rate_limits: true,
            failures_max: 10,
            failures_window: Duration::from_secs(15 * 60),
            secure_cookies: false,
            trust_forwarded: false,
        }
    }
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            concurrency: 4,
            wait: Duration::from_secs(5),
        }
    }
}
