//! Personal data: encrypted under a key of its subject, and unreadable once that key is erased.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key as CipherKey, KeyInit as _, XChaCha20Poly1305, XNonce};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Name, Result, Timestamp};

use super::entity::Entity;
use super::reads::Reads;
use super::table::Table;
use crate::extract::Extract;
use crate::unit::{OwnTable, Scope};
use crate::{decode, encode};

/// The length of a key in bytes.
const KEY: usize = 32;
/// The length of a nonce in bytes. Random nonces of this length never repeat in practice.
pub(super) const NONCE: usize = 24;

/// A personal value in its stored form: encrypted under the key of its subject.
///
/// Use it for the fields of entities, aggregates, events and view rows that say something about a
/// person. [`Subjects::encrypt`] creates it, and [`Subjects::decrypt`] and [`Reads::personal`] read
/// it. Once [`Subjects::erase`] has destroyed the key, nobody can read the value: not in the
/// records and histories of the service, and not in copies of them.
///
/// A value that an older release stored without encryption is decoded too. It stays unencrypted
/// until the service encrypts it again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent, bound = "T: Serialize + DeserializeOwned")]
#[schemars(bound = "T: JsonSchema")]
pub struct Personal<T>(pub(super) Content<T>);

/// The stored forms of a personal value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, bound = "T: Serialize + DeserializeOwned")]
#[schemars(bound = "T: JsonSchema")]
pub(super) enum Content<T> {
    Encrypted(Ciphertext),
    /// Of an older release.
    Plain(T),
}

/// Nonce and ciphertext in hexadecimal; empty if the subject was erased before the value came.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ciphertext {
    #[serde(rename = "wb.encrypted")]
    hex: String,
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(..)")
    }
}

impl<T> Personal<T> {
    /// Creates a value that contains nothing: it reads as erased. For records of erased subjects.
    #[must_use]
    pub fn erased() -> Self {
        Self(Content::Encrypted(Ciphertext { hex: String::new() }))
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.0, Content::Encrypted(_))
    }
}

/// The key of a subject. The record of an erased subject remains, so that a late message cannot
/// create another key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SubjectKey {
    /// The key in hexadecimal.
    Key(String),
    /// The key was destroyed at this time.
    Erased(Timestamp),
}

impl Entity for SubjectKey {
    const NAME: &'static str = "wb.subject";
    type Id = String;
}

/// Keys of subjects, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<SubjectKey>(Name::new(SubjectKey::NAME));

impl SubjectKey {
    pub(super) fn cipher(&self) -> Result<Option<XChaCha20Poly1305>> {
        let Self::Key(key) = self else {
            return Ok(None);
        };
        let mut bytes = [0; KEY];
        hex::decode_to_slice(key, &mut bytes).map_err(|_| unreadable())?;
        Ok(Some(XChaCha20Poly1305::new(&CipherKey::from(bytes))))
    }
}

fn unreadable() -> Error {
    let text = "a personal value does not match the key of its subject";
    Error::reject("undecodable", text)
}

/// The data that is authenticated with each value, so that a value cannot be moved to another
/// subject or service.
fn bound_to(service: Name, subject: &str) -> Vec<u8> {
    format!("{service}\n{subject}").into_bytes()
}

pub(super) fn open<T: DeserializeOwned + Clone>(
    personal: &Personal<T>,
    cipher: Option<XChaCha20Poly1305>,
    service: Name,
    subject: &str,
) -> Result<Option<T>> {
    let hex = match &personal.0 {
        Content::Plain(value) => return Ok(Some(value.clone())),
        Content::Encrypted(Ciphertext { hex }) if hex.is_empty() => return Ok(None),
        Content::Encrypted(Ciphertext { hex }) => hex,
    };
    let Some(cipher) = cipher else {
        return Ok(None);
    };
    let bytes = hex::decode(hex).map_err(|_| unreadable())?;
    let (nonce, text) = bytes.split_at_checked(NONCE).ok_or_else(unreadable)?;
    let nonce = XNonce::try_from(nonce).map_err(|_| unreadable())?;
    let aad = bound_to(service, subject);
    let payload = Payload {
        msg: text,
        aad: &aad,
    };
    let plain = cipher.decrypt(&nonce, payload).map_err(|_| unreadable())?;
    decode(&plain).map(Some)
}

fn seal<T: Serialize>(
    value: &T,
    cipher: &XChaCha20Poly1305,
    runtime: &SharedRuntime,
    service: Name,
    subject: &str,
) -> Result<Personal<T>> {
    let mut nonce = [0; NONCE];
    runtime.fill_secret(&mut nonce);
    seal_with(value, cipher, nonce, service, subject)
}

/// Encrypts a value with this nonce.
pub(super) fn seal_with<T: Serialize>(
    value: &T,
    cipher: &XChaCha20Poly1305,
    nonce: [u8; NONCE],
    service: Name,
    subject: &str,
) -> Result<Personal<T>> {
    let aad = bound_to(service, subject);
    let payload = Payload {
        msg: &encode(value),
        aad: &aad,
    };
    let text = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::reject("too_large", "a personal value is too large to encrypt"))?;
    let hex = hex::encode(nonce) + &hex::encode(text);
    Ok(Personal(Content::Encrypted(Ciphertext { hex })))
}

/// An extractor for the keys of the persons that a service has data about, its *subjects*.
///
/// Each service has keys of its own, in its own store. A key is a record of the unit: two handlers
/// that use a key for the first time agree on one, and a handler that runs during an erasure either
/// commits before it or runs again and finds the subject erased.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::{Personal, Subjects};
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "library.enrol", version = 1, key = reader)]
/// struct Enrol { reader: u32, name: String }
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "library.forget", version = 1, key = reader)]
/// struct Forget { reader: u32 }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Reader { name: Personal<String> }
///
/// impl Entity for Reader {
///     const NAME: &'static str = "reader";
///     type Id = u32;
/// }
///
/// async fn enrol(command: Enrol, subjects: Subjects, readers: Table<Reader>) -> Result<()> {
///     let name = subjects.encrypt(&command.reader, &command.name).await?;
///     readers.put(&command.reader, Reader { name })
/// }
///
/// async fn forget(command: Forget, subjects: Subjects) -> Result<()> {
///     subjects.erase(&command.reader).await?;
///     Ok(())
/// }
///
/// let library = Service::new("library").on(enrol).on(forget);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(library));
/// # let reads = app.reads("library");
/// # let name = |app: &TestApp| app.run(async {
/// #     let reader = reads.entity::<Reader>(&7).await.unwrap().unwrap();
/// #     reads.personal(&7, &reader.name).await.unwrap()
/// # });
/// # app.publish(uuid::Uuid::nil(), &Enrol { reader: 7, name: "Ada".into() });
/// # app.until_idle();
/// # assert_eq!(name(&app).as_deref(), Some("Ada"));
/// # app.publish(uuid::Uuid::nil(), &Forget { reader: 7 });
/// # app.until_idle();
/// # assert_eq!(name(&app), None);
/// # }
/// ```
pub struct Subjects {
    scope: Scope,
    keys: Table<SubjectKey>,
}

impl<S> Extract<Scope, S> for Subjects {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self::of(scope))
    }
}

impl Subjects {
    /// Returns the keys in the unit of `scope`, for code that has a [`Scope`] instead of an
    /// extractor.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            keys: Table::of(scope),
        }
    }

    /// Encrypts a value under the key of `subject`, which is created on first use. The value of an
    /// erased subject is dropped: the result reads as erased.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if the stored key is damaged;
    /// `sealed` after the handler has returned.
    pub async fn encrypt<T: Serialize>(
        &self,
        subject: &impl ToString,
        value: &T,
    ) -> Result<Personal<T>> {
        let subject = subject.to_string();
        let (service, runtime) = (self.scope.service().name(), self.scope.runtime());
        let key = match self.keys.get(&subject).await? {
            Some(key) => key,
            None => {
                let mut bytes = [0; KEY];
                runtime.fill_secret(&mut bytes);
                let key = SubjectKey::Key(hex::encode(bytes));
                self.keys.put(&subject, key.clone())?;
                key
            }
        };
        match key.cipher()? {
            Some(cipher) => seal(value, &cipher, runtime, service, &subject),
            None => Ok(Personal::erased()),
        }
    }

    /// Decrypts a value of `subject`. Returns `None` if the subject was erased.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if the value belongs to another
    /// subject or is damaged; `sealed` after the handler has returned.
    pub async fn decrypt<T: DeserializeOwned + Clone>(
        &self,
        subject: &impl ToString,
        personal: &Personal<T>,
    ) -> Result<Option<T>> {
        let subject = subject.to_string();
        let key = self.keys.get(&subject).await?;
        let cipher = key.map(|key| key.cipher()).transpose()?.flatten();
        open(personal, cipher, self.scope.service().name(), &subject)
    }

    /// Returns whether the subject was erased.
    ///
    /// # Errors
    ///
    /// As for [`decrypt`](Self::decrypt).
    pub async fn is_erased(&self, subject: &impl ToString) -> Result<bool> {
        let key = self.keys.get(&subject.to_string()).await?;
        Ok(matches!(key, Some(SubjectKey::Erased(_))))
    }

    /// Destroys the key of `subject`, also of one that has none yet. All values that were encrypted
    /// under it, and all later ones, read as erased. Returns `false` if it was erased before.
    ///
    /// # Errors
    ///
    /// As for [`decrypt`](Self::decrypt).
    pub async fn erase(&self, subject: &impl ToString) -> Result<bool> {
        if self.is_erased(subject).await? {
            return Ok(false);
        }
        let erased = SubjectKey::Erased(self.scope.now());
        self.keys.put(&subject.to_string(), erased)?;
        Ok(true)
    }
}

impl Reads {
    /// Decrypts a personal value of `subject`. Returns `None` if the subject was erased.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if the value belongs to another
    /// subject or is damaged.
    pub async fn personal<T: DeserializeOwned + Clone>(
        &self,
        subject: &impl ToString,
        personal: &Personal<T>,
    ) -> Result<Option<T>> {
        let subject = subject.to_string();
        let key = self.entity::<SubjectKey>(&subject).await?;
        let cipher = key.map(|key| key.cipher()).transpose()?.flatten();
        open(personal, cipher, self.service().name(), &subject)
    }

    /// Returns whether the subject was erased.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if the stored key is damaged.
    pub async fn is_erased(&self, subject: &impl ToString) -> Result<bool> {
        let key = self.entity::<SubjectKey>(&subject.to_string()).await?;
        Ok(matches!(key, Some(SubjectKey::Erased(_))))
    }
}

/// Returns the SHA-256 digest of a personal value in hexadecimal, for keys, claims and index
/// columns by which the value is found.
///
/// Nobody can read the value in its digest, but anybody can compare it with a guess: remove the key
/// or the row when you erase the subject.
///
/// ```
/// assert_eq!(wingbeat::state::lookup_digest("ada@example.org").len(), 64);
/// ```
#[must_use]
pub fn lookup_digest(value: &str) -> String {
    hex::encode(Sha256::digest(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(json: &str) -> Personal<String> {
        decode(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_value_of_an_older_release_is_readable_and_keeps_its_form() {
        let name = stored("\"Ada\"");
        let service = Name::new("identity");
        assert_eq!(
            open(&name, None, service, "7").unwrap().as_deref(),
            Some("Ada")
        );
        assert_eq!(&encode(&name)[..], b"\"Ada\"");
    }

    #[test]
    fn an_erased_value_stays_erased() {
        let erased = Personal::<String>::erased();
        let json = encode(&erased);
        assert_eq!(&json[..], br#"{"wb.encrypted":""}"#);
        let again: Personal<String> = decode(&json).unwrap();
        assert_eq!(
            open(&again, None, Name::new("identity"), "7").unwrap(),
            None
        );
    }

    #[test]
    fn a_value_belongs_to_its_subject_its_service_and_its_key() {
        let runtime: SharedRuntime = crate::TokioRuntime::new();
        let cipher = |of: u8| XChaCha20Poly1305::new(&CipherKey::from([of; KEY]));
        let (identity, orders) = (Name::new("identity"), Name::new("orders"));
        let ada = seal(&String::from("Ada"), &cipher(1), &runtime, identity, "7").unwrap();
        let read = |key, service, subject| open(&ada, Some(cipher(key)), service, subject);
        assert_eq!(read(1, identity, "7").unwrap().as_deref(), Some("Ada"));
        for wrong in [
            read(2, identity, "7"),
            read(1, orders, "7"),
            read(1, identity, "8"),
        ] {
            assert_eq!(wrong.unwrap_err().code(), "undecodable");
        }
        assert_eq!(format!("{ada:?}"), "Personal(..)");
    }

    #[test]
    fn equal_values_are_encrypted_differently() {
        let runtime: SharedRuntime = crate::TokioRuntime::new();
        let cipher = XChaCha20Poly1305::new(&CipherKey::from([1; KEY]));
        let value = String::from("Ada");
        let one = seal(&value, &cipher, &runtime, Name::new("identity"), "7").unwrap();
        let other = seal(&value, &cipher, &runtime, Name::new("identity"), "7").unwrap();
        assert_ne!(one, other);
    }
}
