//! The settings of the service.

use std::time::Duration;

/// The settings of identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cost of a password hash.
    pub hashing: Hashing,
    /// `true` if wrong passwords are limited. Off for load tests.
    pub rate_limits: bool,
    /// The number of wrong passwords for an account from one address that blocks further attempts.
    pub failures_max: u64,
    /// The number of wrong passwords from one address, for any accounts.
    pub address_failures_max: u64,
    /// The number of wrong passwords for an account, from any addresses.
    pub account_failures_max: u64,
    /// The window in which they are counted, and the time for which attempts are then blocked.
    pub failures_window: Duration,
    /// `true` if cookies are `Secure` and have the prefix `__Host-`. For shops behind TLS.
    pub secure_cookies: bool,
    /// `true` to take the caller's address from the end of `X-Forwarded-For` if the peer is in a
    /// private network. Only for services behind our gateway, which removes the header from
    /// callers' requests.
    pub trust_forwarded: bool,
}

/// The parameters of Argon2id, and the limits on concurrent hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Concurrent hashes; each uses a thread and its memory.
    pub concurrency: usize,
    /// The longest wait for a permit to hash.
    pub wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hashing: Hashing::default(),
            rate_limits: true,
            failures_max: 10,
            address_failures_max: 30,
            account_failures_max: 100,
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
