//! The port for signatures of services: on commands, and on requests between processes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Name;

/// The size of a signature in bytes (Ed25519, RFC 8032).
pub const SIGNATURE_BYTES: usize = 64;

/// A signature. Its text form has 128 hexadecimal digits.
///
/// ```
/// use wingbeat_core::Signature;
///
/// let signature = Signature::new([7; 64]);
/// assert_eq!(signature.to_string().parse(), Ok(signature));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8; SIGNATURE_BYTES]>);

/// The error for a text that is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signature of 128 hexadecimal digits")]
pub struct InvalidSignature;

impl Signature {
    /// Creates a signature from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(Box::new(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = InvalidSignature;

    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        let digits = text.as_bytes();
        if digits.len() != 2 * SIGNATURE_BYTES {
            return Err(InvalidSignature);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(InvalidSignature);
        let mut bytes = [0; SIGNATURE_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = digit(pair[0])? << 4 | digit(pair[1])?;
            *byte = u8::try_from(value).map_err(|_| InvalidSignature)?;
        }
        Ok(Self::new(bytes))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Signs for the services of this process, and verifies the signatures of others.
///
/// `wingbeat::trust::Ed25519` implements it with keys in files. An implementation on a key
/// management system signs with keys that never leave it.
pub trait Signatures: Send + Sync + 'static {
    /// Signs `input` for a service or another role; `None` if this process has no key of that name.
    fn sign(&self, signer: Name, input: &[u8]) -> Option<Signature>;

    /// Returns whether `signature` is a signature of `input` by `signer`.
    fn verifies(&self, signer: &str, input: &[u8], signature: &Signature) -> bool;
}

/// Collects the fields of a signed text. Each field follows its length, so that no two lists of
/// fields have the same bytes.
///
/// ```
/// use wingbeat_core::signature::SignedText;
///
/// let text = SignedText::new("example v1").field(b"ab").field(b"c");
/// assert_eq!(text.into_bytes(), b"example v1\n2:ab,1:c,");
/// ```
#[derive(Clone, Debug)]
pub struct SignedText(Vec<u8>);

impl SignedText {
    /// Begins a text. `purpose` differs between all uses of a key, so that a signature for one
    /// purpose is none for another.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        Self(format!("{purpose}\n").into_bytes())
    }

    /// Appends a field.
    #[must_use]
    pub fn field(mut self, field: &[u8]) -> Self {
        self.0
            .extend_from_slice(format!("{}:", field.len()).as_bytes());
        self.0.extend_from_slice(field);
        self.0.push(b',');
        self
    }

    /// Returns the bytes to sign.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_128_hexadecimal_digits_are_a_signature() {
        let text = Signature::new([0xab; SIGNATURE_BYTES]).to_string();
        assert_eq!(text, "ab".repeat(SIGNATURE_BYTES));
        assert!(text.to_uppercase().parse::<Signature>().is_ok());
        for wrong in [
            "",
            &text[2..],
            &format!("{text}00"),
            &text.replace('a', "g"),
        ] {
            assert_eq!(wrong.parse::<Signature>(), Err(InvalidSignature), "{wrong}");
        }
        assert_eq!(
            "é".repeat(SIGNATURE_BYTES).parse::<Signature>(),
            Err(InvalidSignature)
        );
    }

    #[test]
    fn fields_cannot_be_shifted_into_one_another() {
        let of = |fields: &[&str]| {
            let text = fields.iter().fold(SignedText::new("test"), |text, field| {
                text.field(field.as_bytes())
            });
            text.into_bytes()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["1:a,", ""]), of(&["", "1:a,"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
