//! Signatures with Ed25519 (RFC 8032): a public key verifies signatures and cannot make them.

use std::collections::BTreeMap;
use std::path::Path;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use wingbeat_core::{Error, Name, Result, Signature, Signatures};

use super::pair::{PublicKey, pair, public, seed};
use super::pem_files::{self, PrivateKey};

/// The largest number of public keys of one name. A signature is verified with each.
const KEYS_MAX: usize = 8;

/// The private keys of this process and the public keys of the system.
///
/// Several public keys of one name are for the time in which a key is replaced: first add the new
/// public key everywhere, then sign with the new key, then remove the old public key.
pub struct Ed25519 {
    signing: BTreeMap<String, Ed25519KeyPair>,
    trusted: BTreeMap<String, Vec<PublicKey>>,
}

impl Ed25519 {
    /// Reads keys from PEM files.
    ///
    /// `signing` is PEM text, the path of a file, or a directory with files `<name>.key`; each file
    /// contains private keys (PKCS #8). A key belongs to the name of its public key. `trusted` is a
    /// directory with a file `<name>.pub` for each service, which contains its public keys.
    ///
    /// # Errors
    ///
    /// `signing_key_invalid` if a private key cannot be read or its public key is not in `trusted`;
    /// `trusted_keys_invalid` if a public key cannot be read or has two names.
    pub fn read(signing: Option<&str>, trusted: &Path) -> Result<Self> {
        let trusted = pem_files::trusted(trusted)?;
        let private = signing.map(pem_files::signing).transpose()?;
        let mut keys = Self {
            signing: BTreeMap::new(),
            trusted: BTreeMap::new(),
        };
        for (name, key) in trusted {
            keys.trust(name, key)?;
        }
        for key in private.unwrap_or_default() {
            keys.sign_with(&key)?;
        }
        Ok(keys)
    }

    /// Makes new keys for these names, for tests: every name can sign, and is trusted.
    ///
    /// # Panics
    ///
    /// If the operating system returns no random numbers.
    #[must_use]
    pub fn generated<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = names
            .into_iter()
            .map(|name| (name.to_owned(), pair(&seed())));
        let signing: BTreeMap<_, _> = pairs.collect();
        let public = |(name, pair): (&String, &Ed25519KeyPair)| (name.clone(), vec![public(pair)]);
        Self {
            trusted: signing.iter().map(public).collect(),
            signing,
        }
    }

    /// Returns the public keys alone: they verify the signatures of all, and sign nothing.
    #[must_use]
    pub fn verifying(&self) -> Self {
        Self {
            signing: BTreeMap::new(),
            trusted: self.trusted.clone(),
        }
    }

    /// Returns whether this process can sign for a name.
    #[must_use]
    pub fn signs_for(&self, name: &str) -> bool {
        self.signing.contains_key(name)
    }

    /// Returns whether a public key of a name is known.
    #[must_use]
    pub fn trusts(&self, name: &str) -> bool {
        self.trusted.contains_key(name)
    }

    fn trust(&mut self, name: String, key: PublicKey) -> Result<()> {
        let invalid = |text| Err(Error::reject("trusted_keys_invalid", text));
        let same = |keys: &Vec<PublicKey>| keys.contains(&key);
        if let Some((other, _)) = self.trusted.iter().find(|(_, keys)| same(keys)) {
            return invalid(format!("`{other}` and `{name}` have the same public key"));
        }
        let keys = self.trusted.entry(name.clone()).or_default();
        if keys.len() == KEYS_MAX {
            return invalid(format!("`{name}` has more than {KEYS_MAX} public keys"));
        }
        keys.push(key);
        Ok(())
    }

    fn sign_with(&mut self, key: &PrivateKey) -> Result<()> {
        let invalid = |text: String| Error::reject("signing_key_invalid", text);
        let origin = &key.origin;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.pkcs8);
        let pair = pair.map_err(|why| invalid(format!("{origin}: not an Ed25519 key: {why}")))?;
        let own = public(&pair);
        let mut names = self.trusted.iter();
        let Some((name, _)) = names.find(|(_, keys)| keys.contains(&own)) else {
            let text = format!("{origin}: no file of the trusted keys has its public key");
            return Err(invalid(text));
        };
        let name = name.clone();
        if self.signing.insert(name.clone(), pair).is_some() {
            return Err(invalid(format!(
                "{origin}: `{name}` has a second signing key"
            )));
        }
        Ok(())
    }
}

impl Signatures for Ed25519 {
    fn sign(&self, signer: Name, input: &[u8]) -> Option<Signature> {
        let signature = self.signing.get(signer.as_str())?.sign(input);
        signature.as_ref().try_into().ok().map(Signature::new)
    }

    fn verifies(&self, signer: &str, input: &[u8], signature: &Signature) -> bool {
        let keys = self.trusted.get(signer).into_iter().flatten();
        keys.map(|key| UnparsedPublicKey::new(&ED25519, key))
            .any(|key| key.verify(input, signature.as_bytes()).is_ok())
    }
}
