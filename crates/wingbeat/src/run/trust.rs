//! The keys of a process for signatures, from its settings.

#[cfg(feature = "signing")]
use std::sync::Arc;

use super::program::{Program, Roles};
use super::settings::Settings;
#[cfg(feature = "signing")]
use super::settings::TrustFiles;
#[cfg(feature = "signing")]
use crate::Error;
use crate::Result;
#[cfg(feature = "signing")]
use crate::trust::Ed25519;
use crate::trust::Trust;

/// Reads the keys of a process; `None` if the settings name none.
///
/// # Errors
///
/// `signing_key_invalid` if a key cannot be used, or a service that runs here has none;
/// `trusted_keys_invalid` if a public key cannot be used, or a service has none.
#[cfg(feature = "signing")]
pub(super) fn keys<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    roles: &Roles,
) -> Result<Option<Trust>> {
    let Some(files) = &settings.trust else {
        return Ok(None);
    };
    let keys = files.keys()?;
    let all = signers(program, settings);
    let unknown: Vec<_> = all.iter().copied().filter(|it| !keys.trusts(it)).collect();
    if !unknown.is_empty() {
        let text = format!("there is no public key of {}", unknown.join(", "));
        return Err(Error::reject("trusted_keys_invalid", text));
    }
    let here = all.into_iter().filter(|it| roles.has(it));
    let mute: Vec<_> = here.filter(|it| !keys.signs_for(it)).collect();
    if !mute.is_empty() {
        let text = format!("there is no signing key of {}", mute.join(", "));
        return Err(Error::reject("signing_key_invalid", text));
    }
    Ok(Some(files.trust(keys)))
}

#[cfg(feature = "signing")]
impl TrustFiles {
    /// Reads the keys, for [`Program::begin`] for example.
    ///
    /// # Errors
    ///
    /// `signing_key_invalid` or `trusted_keys_invalid` if a key cannot be used.
    pub fn read(&self) -> Result<Trust> {
        Ok(self.trust(self.keys()?))
    }

    fn keys(&self) -> Result<Ed25519> {
        let signing = self.signing_key.as_ref().map(|key| key.0.as_str());
        Ed25519::read(signing, &self.trusted_keys)
    }

    fn trust(&self, keys: Ed25519) -> Trust {
        Trust::new(Arc::new(keys)).with_accept_unsigned(self.accept_unsigned)
    }
}

/// Returns the names that need a key: the services, and the roles that sign requests.
#[cfg(feature = "signing")]
pub(super) fn signers<P: Program>(program: &P, settings: &Settings<P::Own>) -> Vec<&'static str> {
    let mut names = program.services(settings);
    names.extend(program.signing_roles());
    names
}

#[cfg(not(feature = "signing"))]
#[allow(
    clippy::unnecessary_wraps,
    reason = "the settings refuse keys without the feature"
)]
pub(super) fn keys<P: Program>(_: &P, _: &Settings<P::Own>, _: &Roles) -> Result<Option<Trust>> {
    Ok(None)
}
