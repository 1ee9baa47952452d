//! Stand-ins for keys of subjects, so that exported stories contain no personal data and can be
//! replayed all the same.

use serde::Deserialize as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wingbeat_core::{Key, Name, Result, ServiceStore};

use super::entity::Entity as _;
use super::personal::{Ciphertext, Content, NONCE, Personal, SubjectKey, open, seal_with};
use crate::decode;

/// The key of all subjects in exported stories, in hexadecimal: masks are no secrets.
const SHARED: &str = "7777777777777777777777777777777777777777777777777777777777777777";
/// The name of the field of an encrypted value.
const ENCRYPTED: &str = "wb.encrypted";

/// The key of a subject at the time of an export.
pub(crate) struct Stand(Option<SubjectKey>);

impl Stand {
    /// Returns the record that takes the place of the key in a story.
    pub(crate) fn stored(&self) -> Value {
        let shared = SubjectKey::Key(SHARED.to_owned());
        let key = match &self.0 {
            Some(erased @ SubjectKey::Erased(_)) => erased,
            _ => &shared,
        };
        serde_json::to_value(key).expect("a key is a text")
    }
}

/// Opens encrypted values, and encrypts masks under the shared key.
pub(crate) struct Veil;

impl Veil {
    /// Reads the key of a subject.
    pub(crate) async fn read(store: &ServiceStore, subject: &str) -> Result<Stand> {
        let key = Key::new(Name::new(SubjectKey::NAME), subject);
        let record = store.load(&key).await?;
        let key = record.map(|record| decode(&record.body)).transpose()?;
        Ok(Stand(key))
    }

    /// Returns whether this is an encrypted value.
    pub(crate) fn is_encrypted(value: &Value) -> bool {
        let fields = value.as_object();
        fields.is_some_and(|it| it.len() == 1 && it.get(ENCRYPTED).is_some_and(Value::is_string))
    }

    /// Returns whether this is an encrypted value that reads as erased.
    pub(crate) fn is_erased(value: &Value) -> bool {
        Self::is_encrypted(value) && value[ENCRYPTED].as_str() == Some("")
    }

    /// Decrypts a value; `None` if this key does not open it.
    pub(crate) fn open(value: &Value, key: &Stand, of: Name, subject: &str) -> Option<Value> {
        let hex = Ciphertext::deserialize(value).ok()?;
        let personal = Personal::<Value>(Content::Encrypted(hex));
        let cipher = key.0.as_ref()?.cipher().ok()??;
        open(&personal, Some(cipher), of, subject).ok()?
    }

    /// Encrypts a mask. Equal masks of a subject have equal ciphertexts.
    pub(crate) fn seal(mask: &Value, of: Name, subject: &str) -> Value {
        let digest = Sha256::digest(format!("{of}\n{subject}\n{mask}"));
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&digest[..NONCE]);
        let cipher = SubjectKey::Key(SHARED.to_owned()).cipher();
        let sealed = cipher.map(|cipher| Some(seal_with(mask, &cipher?, nonce, of, subject)));
        match sealed {
            Ok(Some(Ok(sealed))) => serde_json::to_value(sealed).unwrap_or_else(|_| Self::erased()),
            _ => Self::erased(),
        }
    }

    /// Returns a value that reads as erased.
    pub(crate) fn erased() -> Value {
        serde_json::json!({ ENCRYPTED: "" })
    }
}
