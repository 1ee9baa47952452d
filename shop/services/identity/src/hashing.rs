//! Password hashing with Argon2id, on blocking threads and with bounded concurrency.
//!
//! Callers of one network together wait for all permits but one. So one caller with many requests
//! delays the requests of its own network, and not those of others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wingbeat::SharedRuntime;
use wingbeat::{Error, Result, RuntimeExt as _};

use crate::config::Hashing;

/// The length of a salt in bytes.
const SALT: usize = 16;

/// Hashes and verifies passwords.
#[derive(Clone)]
pub struct Hasher {
    argon2: Argon2<'static>,
    turns: Arc<Semaphore>,
    /// The permits of each network with requests.
    shares: Arc<Mutex<BTreeMap<String, Share>>>,
    config: Hashing,
    /// The hash that an unknown user's password is compared with, so that the check takes as long
    /// as a known user's.
    dummy: Arc<str>,
}

/// The part of the permits that callers of one network may use or wait for.
struct Share {
    turns: Arc<Semaphore>,
    /// The requests that use the entry. It is removed with the last one.
    requests: usize,
}

/// The use of an entry of `shares`.
struct InShare {
    shares: Arc<Mutex<BTreeMap<String, Share>>>,
    network: String,
}

impl Drop for InShare {
    fn drop(&mut self) {
        let mut shares = lock(&self.shares);
        if let Some(share) = shares.get_mut(&self.network) {
            share.requests -= 1;
            if share.requests == 0 {
                shares.remove(&self.network);
            }
        }
    }
}

fn lock(shares: &Mutex<BTreeMap<String, Share>>) -> MutexGuard<'_, BTreeMap<String, Share>> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A permit to hash one password. Dropping it releases the permit.
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    _of_network: OwnedSemaphorePermit,
    _share: InShare,
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::reject("hashing", format!("cannot hash a password: {why}"))
}

impl Hasher {
    /// Creates a hasher. Parameters that Argon2 refuses are replaced by its defaults.
    #[must_use]
    pub fn new(config: &Hashing) -> Self {
        let params = Params::new(config.memory_kib, config.passes, 1, None).unwrap_or_default();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = unmatchable(argon2.params()).unwrap_or_default();
        Self {
            argon2,
            turns: Arc::new(Semaphore::new(config.concurrency.max(1))),
            shares: Arc::default(),
            config: *config,
            dummy: dummy.into(),
        }
    }

    /// Waits for a permit for a caller of this network.
    ///
    /// # Errors
    ///
    /// `overloaded` if the wait exceeds the configured limit.
    pub async fn turn(&self, runtime: &SharedRuntime, network: &str) -> Result<Turn> {
        let permits = async {
            let (turns, share) = self.share(network);
            // Of the network first: its other requests must not wait among those of all networks.
            let of_network = turns.acquire_owned().await.ok()?;
            let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            Some(Turn {
                _turn: turn,
                _of_network: of_network,
                _share: share,
            })
        };
        match runtime.timeout(self.config.wait, permits).await {
            Some(Some(turn)) => Ok(turn),
            _ => Err(Error::retry(
                "overloaded",
                "too many passwords are waiting to be hashed; try again later",
            )),
        }
    }

    /// Returns the permits of a network, and the use of them.
    fn share(&self, network: &str) -> (Arc<Semaphore>, InShare) {
        let mut shares = lock(&self.shares);
        let share = shares.entry(network.to_owned()).or_insert_with(|| Share {
            turns: Arc::new(Semaphore::new(self.config.concurrency.max(2) - 1)),
            requests: 0,
        });
        share.requests += 1;
        let used = InShare {
            shares: Arc::clone(&self.shares),
            network: network.to_owned(),
        };
        (Arc::clone(&share.turns), used)
    }

    /// Hashes a new password.
    ///
    /// # Errors
    ///
    /// `hashing` if Argon2 fails.
    pub async fn hash(
        &self,
        runtime: &SharedRuntime,
        turn: Turn,
        password: &str,
    ) -> Result<String> {
        let mut salt = [0_u8; SALT];
        runtime.fill_secret(&mut salt);
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let hashed = runtime.blocking(move || {
            let _turn = turn; // Held until the work is done, even if the caller no longer waits.
            hash(&argon2, &password, &salt)
        });
        hashed.await.ok_or_else(|| failed("the hasher panicked"))?
    }

    /// Returns whether the password matches the hash. Without a hash the check takes as long and
    /// returns `false`.
    ///
    /// # Errors
    ///
    /// `hashing` if the stored hash cannot be parsed.
    pub async fn verify(
        &self,
        runtime: &SharedRuntime,
        turn: Turn,
        hash: Option<String>,
        password: &str,
    ) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.to_string());
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let verified = runtime.blocking(move || {
            let _turn = turn;
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            Ok(argon2.verify_password(password.as_bytes(), &hash).is_ok())
        });
        let same: Result<bool> = verified
            .await
            .ok_or_else(|| failed("the hasher panicked"))?;
        Ok(same? && known)
    }
}

/// Returns a hash that no password matches, under these parameters. It is a constant instead of a
/// computed hash, because each process builds all services and would keep the memory that hashing
/// needs.
fn unmatchable(params: &Params) -> Result<String> {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: params.try_into().map_err(failed)?,
        salt: Some(Salt::new(&[7; SALT]).map_err(failed)?),
        hash: Some(Output::new(&[0; Params::DEFAULT_OUTPUT_LEN]).map_err(failed)?),
    };
    Ok(hash.to_string())
}

fn hash(argon2: &Argon2<'_>, password: &str, salt: &[u8]) -> Result<String> {
    let hash = argon2.hash_password_with_salt(password.as_bytes(), salt);
    Ok(hash.map_err(failed)?.to_string())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_hash_of_an_unknown_user_costs_the_same_and_matches_no_password() {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let real = hash(&argon2, "somebody's password", &[3; SALT]).unwrap();
        let dummy = unmatchable(argon2.params()).unwrap();
        let (real, dummy) = (PasswordHash::new(&real), PasswordHash::new(&dummy));
        let (real, dummy) = (real.unwrap(), dummy.unwrap());
        assert_eq!(dummy.algorithm, real.algorithm);
        assert_eq!((dummy.version, &dummy.params), (real.version, &real.params));
        let length = |hash: &PasswordHash| hash.hash.map(|hash| hash.len());
        assert_eq!(length(&dummy), length(&real));
        let wrong = argon2.verify_password(b"somebody's password", &dummy);
        assert_eq!(wrong, Err(argon2::password_hash::Error::PasswordInvalid));
    }

    #[test]
    fn a_hash_that_argon2_0_5_wrote_is_verified() {
        let stored = "$argon2id$v=19$m=64,t=2,p=1$BQUFBQUFBQUFBQUFBQUFBQ\
                      $jwQ5l92Ap+YsdgNuQSktJPT4smIbf/eUdOoIXT2r4sc";
        let params = Params::new(64, 2, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let written = hash(&argon2, "correct horse", &[5; SALT]).unwrap();
        assert_eq!(written, stored);
        let others = Argon2::default(); // The parameters of the stored hash count.
        let stored = PasswordHash::new(stored).unwrap();
        assert_eq!(others.verify_password(b"correct horse", &stored), Ok(()));
        let wrong = others.verify_password(b"incorrect horse", &stored);
        assert_eq!(wrong, Err(argon2::password_hash::Error::PasswordInvalid));
    }

    /// A flood from one network leaves a permit for the others.
    #[tokio::test]
    async fn a_network_with_many_requests_does_not_delay_another() {
        let runtime: SharedRuntime = wingbeat::TokioRuntime::new();
        let hasher = Hasher::new(&Hashing {
            concurrency: 4,
            wait: std::time::Duration::from_secs(600),
            ..Hashing::default()
        });
        let turn = |network: &'static str| Box::pin(hasher.turn(&runtime, network));
        let mut flood: Vec<_> = (0..100).map(|_| turn("eve")).collect();
        let mut began = Vec::new();
        for waiting in &mut flood {
            began.extend(waiting.now_or_never());
        }
        assert_eq!(began.len(), 3);
        let other = turn("ada").now_or_never().expect("a permit is free");
        let third = turn("bob");
        assert!(third.now_or_never().is_none(), "all permits are used");
        drop((flood, began, other));
        assert!(lock(&hasher.shares).is_empty(), "entries do not accumulate");
    }
}
