//! Identity: users, their passwords and their sessions.
//!
//! - [`domain`]: the validation of a sign-up; pure. [`users`]: the stored users.
//! - [`api`]: sign-up, sign-in, sign-out, the caller's account, a new password.
//! - [`hashing`]: password hashing with Argon2id. [`failures`]: the limit on wrong passwords.
//! - `handlers`: the end of an erased user's sessions.
//! - [`seeding`]: the admin, and shoppers for load tests. [`audit`]: reads for the invariants.
//!
//! Names, e-mail addresses and password hashes are stored encrypted, under a key that the erasure
//! of the user destroys. One command carries name and address to notifications; no event contains
//! them.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
pub mod failures;
mod handlers;
pub mod hashing;
pub mod seeding;
pub mod users;

use shop_contracts::identity::{UserErased, UserLoggedIn, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use wingbeat::http::session::Sessions;
use wingbeat::{Part, Parts, Service, Stored};

pub use config::Config;
pub use hashing::Hasher;
pub use seeding::{Shopper, dev_shoppers, ensure_admin};
pub use users::ADMIN_EMAIL;

/// The state that routes extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The sessions.
    pub sessions: Sessions,
    /// The password hasher.
    pub hasher: Hasher,
    /// The log of refused passwords.
    pub refusals: failures::Refusals,
}

impl Part<Self> for State {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config, sessions: Sessions) -> Service<State> {
    Service::new("identity")
        .with_state(State {
            config: config.clone(),
            sessions,
            hasher: Hasher::new(&config.hashing),
            refusals: failures::Refusals::default(),
        })
        .on(handlers::user_erased)
        .routes(api::routes())
        .stores(Stored::entity::<users::StoredUser>())
        .publishes::<UserRegistered>()
        .publishes::<UserLoggedIn>()
        .publishes::<UserErased>()
        .sends::<RememberAddress>()
}
