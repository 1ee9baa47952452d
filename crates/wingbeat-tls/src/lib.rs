//! The TLS settings of clients: trusted authorities, client certificates, and the configuration of
//! rustls.
//!
//! Every client of Wingbeat takes its authorities from [`roots`], so that one setting applies to all
//! of them. Certificates are always checked: the chain, the dates and the name of the server.
//!
//! ```no_run
//! use wingbeat_core::tls::TlsFiles;
//!
//! let files = TlsFiles { ca: Some("ca.pem".into()), ..TlsFiles::default() };
//! let config = wingbeat_tls::client_config(&files)?;
//! # drop(config);
//! # Ok::<(), wingbeat_core::Error>(())
//! ```

#![deny(missing_docs)]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use wingbeat_core::tls::TlsFiles;
use wingbeat_core::{Error, Result};

pub use rustls;

/// A client certificate with its intermediate certificates, and its private key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Returns the configuration of a client: TLS 1.2 and 1.3, with the authorities of [`roots`] and the
/// client certificate of [`identity`].
///
/// # Errors
///
/// `tls_invalid` if a file cannot be read, contains no certificate or no key, or if certificate and
/// key do not belong together.
pub fn client_config(files: &TlsFiles) -> Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots(files)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("`ring` supports the default versions")
        .with_root_certificates(store);
    let Some((certificates, key)) = identity(files)? else {
        return Ok(config.with_no_client_auth());
    };
    let text = "the client certificate and its key do not fit together";
    let config = config.with_client_auth_cert(certificates, key);
    config.map_err(|why| Error::reject("tls_invalid", text).because(why))
}

/// Returns the certificates of the trusted authorities: those of [`TlsFiles::ca`], else those of the
/// operating system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
///
/// # Errors
///
/// `tls_invalid` if the file cannot be read or contains no certificate, or if the operating system
/// has none.
pub fn roots(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>> {
    if let Some(ca) = &files.ca {
        let all = certificates(ca)?;
        if !all.iter().all(is_usable) {
            return Err(invalid(ca, "contains a certificate that is not valid"));
        }
        return Ok(all);
    }
    let mut found = rustls_native_certs::load_native_certs();
    // Systems keep old certificates in forms that rustls does not take.
    found.certs.retain(is_usable);
    if !found.certs.is_empty() {
        return Ok(found.certs);
    }
    let text = "the operating system has no certificates of authorities: install them, or name a file with --tls-ca";
    let none = Error::reject("tls_invalid", text);
    Err(match found.errors.into_iter().next() {
        Some(why) => none.because(why),
        None => none,
    })
}

/// Returns the client certificate and its key; `None` if none is set.
///
/// # Errors
///
/// `tls_invalid` if only one of the two is set, or if a file cannot be read or lacks its content.
pub fn identity(files: &TlsFiles) -> Result<Option<Identity>> {
    match (&files.certificate, &files.key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificates(certificate)?, private_key(key)?))),
        _ => {
            let text = "a client certificate and its key go together";
            Err(Error::reject("tls_invalid", text))
        }
    }
}

fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|why| invalid(path, "cannot be read").because(why))?;
    if all.is_empty() {
        return Err(invalid(path, "contains no certificate in PEM form"));
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let key = PrivateKeyDer::from_pem_file(path);
    key.map_err(|why| invalid(path, "contains no private key in PEM form").because(why))
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::reject("tls_invalid", format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

    use std::path::PathBuf;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn why(files: &TlsFiles) -> String {
        let refused = client_config(files).map(drop).unwrap_err();
        assert_eq!(refused.code(), "tls_invalid");
        refused.to_string()
    }

    #[test]
    fn files_replace_the_authorities_of_the_system_and_add_a_client_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, key_pair } =
            generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
        let ca = written(folder.path(), "ca.pem", &cert.pem());
        let key = written(folder.path(), "key.pem", &key_pair.serialize_pem());
        let files = TlsFiles {
            ca: Some(ca.clone()),
            certificate: Some(ca),
            key: Some(key),
        };
        assert_eq!(roots(&files).unwrap(), [cert.der().clone()]);
        let config = client_config(&files).unwrap();
        assert!(config.client_auth_cert_resolver.has_certs());
        assert!(config.alpn_protocols.is_empty());
    }

    #[test]
    fn a_file_without_its_content_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = written(folder.path(), "empty.pem", "nothing");
        let files = TlsFiles {
            ca: Some(empty.clone()),
            ..TlsFiles::default()
        };
        assert!(why(&files).contains("empty.pem contains no certificate"));
        let missing = TlsFiles {
            ca: Some(folder.path().join("missing.pem")),
            ..TlsFiles::default()
        };
        assert!(why(&missing).contains("missing.pem cannot be read"));
        let CertifiedKey { cert, .. } = generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let certificate = written(folder.path(), "cert.pem", &cert.pem());
        let half = TlsFiles {
            ca: Some(certificate.clone()),
            certificate: Some(certificate.clone()),
            key: None,
        };
        assert!(why(&half).contains("go together"));
        let other = generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
        let key = written(folder.path(), "key.pem", &other.key_pair.serialize_pem());
        let foreign = TlsFiles {
            key: Some(key),
            ..half
        };
        assert!(why(&foreign).contains("do not fit together"));
    }
}
