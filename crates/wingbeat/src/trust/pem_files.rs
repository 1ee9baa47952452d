//! Keys in PEM files, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use pem::Pem;
use wingbeat_core::{Error, Result};

use super::pair::{PUBLIC_BYTES, PublicKey};
#[cfg(feature = "host")]
use super::pair::{pair, public, seed};

/// The beginning of PEM text.
const PEM: &str = "-----BEGIN";
/// The DER form of an Ed25519 public key before its 32 bytes (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// The DER form of an Ed25519 private key before its 32 bytes (RFC 8410, section 7).
#[cfg(feature = "host")]
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// A private key, and the file that contains it.
pub(super) struct PrivateKey {
    pub(super) origin: String,
    pub(super) pkcs8: Vec<u8>,
}

/// Returns the names and public keys of a directory.
pub(super) fn trusted(directory: &Path) -> Result<Vec<(String, PublicKey)>> {
    let invalid = |text: String| Error::reject("trusted_keys_invalid", text);
    let mut keys = Vec::new();
    for path in files(directory).map_err(&invalid)? {
        let shown = path.display().to_string();
        let name = path.file_stem().and_then(|name| name.to_str());
        let is_public = path.extension().is_some_and(|it| it == "pub");
        let Some(name) = name.filter(|_| is_public) else {
            return Err(invalid(format!("{shown} is not named `<service>.pub`")));
        };
        let blocks = read(&path).and_then(|text| blocks(&text, PUBLIC));
        let blocks = blocks.map_err(|why| invalid(format!("{shown}: {why}")))?;
        for block in blocks {
            let key = block.contents().strip_prefix(&SPKI[..]);
            let key = key.and_then(|key| <[u8; PUBLIC_BYTES]>::try_from(key).ok());
            let key = key.ok_or_else(|| invalid(format!("{shown}: not an Ed25519 public key")))?;
            keys.push((name.to_owned(), key));
        }
    }
    if keys.is_empty() {
        let shown = directory.display();
        return Err(invalid(format!("{shown} contains no file `<service>.pub`")));
    }
    Ok(keys)
}

/// Returns the private keys of a PEM text, a file, or the files `<name>.key` of a directory.
pub(super) fn signing(value: &str) -> Result<Vec<PrivateKey>> {
    let invalid = |text: String| Error::reject("signing_key_invalid", text);
    let mut texts = Vec::new();
    if value.trim_start().starts_with(PEM) {
        texts.push(("the signing key".to_owned(), value.to_owned()));
    } else {
        let path = Path::new(value);
        let paths = if path.is_dir() {
            let mut paths = files(path).map_err(&invalid)?;
            paths.retain(|path| path.extension().is_some_and(|it| it == "key"));
            paths
        } else {
            // The value may be a mangled key, which no error may repeat.
            let text = read(path).map_err(|why| invalid(format!("the signing key: {why}")))?;
            texts.push(("the signing key".to_owned(), text));
            Vec::new()
        };
        for path in paths {
            let shown = path.display().to_string();
            let text = read(&path).map_err(|why| invalid(format!("{shown}: {why}")))?;
            texts.push((shown, text));
        }
    }
    let mut keys = Vec::new();
    for (origin, text) in texts {
        let blocks = blocks(&text, PRIVATE).map_err(|why| invalid(format!("{origin}: {why}")))?;
        keys.extend(blocks.into_iter().map(|block| PrivateKey {
            origin: origin.clone(),
            pkcs8: block.into_contents(),
        }));
    }
    if keys.is_empty() {
        return Err(invalid("there is no file `<service>.key`".into()));
    }
    Ok(keys)
}

/// Returns the files of a directory by name. Hidden ones are left out: mounted directories contain
/// some.
fn files(directory: &Path) -> std::result::Result<Vec<PathBuf>, String> {
    let failed = |why: std::io::Error| format!("{}: {why}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> std::result::Result<String, String> {
    fs::read_to_string(path).map_err(|why| why.to_string())
}

/// Returns the blocks of a PEM text, which all have this label. The errors repeat nothing of the
/// text, which may be a private key.
fn blocks(text: &str, label: &str) -> std::result::Result<Vec<Pem>, String> {
    let blocks = pem::parse_many(text).map_err(|_| "not PEM".to_owned())?;
    if blocks.is_empty() {
        return Err(format!("contains no {label}"));
    }
    match blocks.iter().find(|block| block.tag() != label) {
        None => Ok(blocks),
        Some(_) if label == PUBLIC => Err(format!("contains something other than a {PUBLIC}")),
        Some(_) => Err(format!(
            "contains something other than a {PRIVATE} without a password"
        )),
    }
}

/// A new pair of keys as PEM.
#[cfg(feature = "host")]
pub(crate) struct NewKey {
    pub(crate) private: String,
    pub(crate) public: String,
}

#[cfg(feature = "host")]
impl NewKey {
    pub(crate) fn generate() -> Self {
        let seed = seed();
        let der = |prefix: &[u8], key: &[u8]| [prefix, key].concat();
        let encoded = |label, contents| {
            let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
            pem::encode_config(&Pem::new(label, contents), config)
        };
        Self {
            private: encoded(PRIVATE, der(&PKCS8, &seed)),
            public: encoded(PUBLIC, der(&SPKI, &public(&pair(&seed)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use wingbeat_core::{Name, Signatures as _};

    use super::*;
    use crate::trust::Ed25519;

    /// A fixed test key (its seed is 32 bytes of 7), in the form that OpenSSL 3.0 writes.
    /// `deploy/secrets.sh` makes all keys of a deployment with OpenSSL.
    const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
-----END PRIVATE KEY-----
";
    const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=
-----END PUBLIC KEY-----
";
    /// The text that `openssl pkeyutl -sign -rawin` signed with that key.
    const TEXT: &[u8] = b"wingbeat command v1\n\
        36:0193f0a0-0000-7000-8000-000000000001,7:tills/3,26:payments.refund_payment.v1,\
        36:0193f0a0-0000-7000-8000-000000000001,0:,16:1764000000123456,\
        36:0193f0a0-0000-7000-8000-000000000001,0:,0:,2:{},";
    const SIGNATURE: &str = "c8594a34f1c1f0520f2b7de9c84892a76d1bbce188963dc327b6f42ca9986abf\
        44fd15b28389eb57cdae51bb5680adfb68fb297e6ae60bfc23c0d7944228f504";

    #[test]
    fn keys_and_signatures_of_openssl_are_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let public = directory.path().join("tills.pub");
        fs::write(public, PUBLIC_KEY).expect("written");
        let keys = Ed25519::read(Some(PRIVATE_KEY), directory.path()).expect("they can be read");
        assert!(keys.signs_for("tills"));
        let theirs = SIGNATURE.parse().expect("a signature");
        assert!(keys.verifies("tills", TEXT, &theirs));
        assert!(!keys.verifies("tills", &TEXT[1..], &theirs));
        assert_eq!(keys.sign(Name::new("tills"), TEXT), Some(theirs));
    }
}
