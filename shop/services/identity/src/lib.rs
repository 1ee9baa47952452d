//! Identity: users, their passwords and their sessions.
//!
//! - [`domain`]: what may be registered, pure. [`users`]: the stored user.
//! - [`api`]: sign up, sign in, sign out, who am I, another password.
//! - [`hashing`]: Argon2id away from the async threads. [`failures`]: too many wrong passwords.
//! - [`seeding`]: the admin, and shoppers for load tests. [`audit`]: what the invariants compare.
//!
//! Names and e-mail addresses lie here, in keyed state, and travel in one command to notifications;
//! no event carries them.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
pub mod failures;
pub mod hashing;
pub mod seeding;
pub mod users;

use shop_contracts::identity::{UserLoggedIn, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use wingbeat::http::session::Sessions;
use wingbeat::{Parts, Service};

pub use config::Config;
pub use hashing::Hasher;
pub use seeding::{ADMIN_EMAIL, Shopper, dev_shoppers, ensure_admin};

/// What routes may ask for.
#[derive(Clone, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// Where sessions live.
    pub sessions: Sessions,
    /// Hashes passwords.
    pub hasher: Hasher,
}

/// The service.
#[must_use]
pub fn service(config: &Config, sessions: Sessions) -> Service<State> {
    Service::new("identity")
        .with_state(State {
            config: config.clone(),
            sessions,
            hasher: Hasher::new(&config.hashing),
        })
        .routes(api::routes())
        .publishes::<UserRegistered>()
        .publishes::<UserLoggedIn>()
        .sends::<RememberAddress>()
}
