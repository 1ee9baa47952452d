//! TLS of a client: its files, what it verifies, and the configuration of rustls.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use wingbeat_core::tls::TlsFiles;
use wingbeat_core::{Error, Result};

use crate::verifier::{AnyCertificate, AnyName};

/// The beginning of a value that is PEM text and not a path.
const PEM: &str = "-----BEGIN";

/// The parts of the server's certificate that a client verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The issuer and the name of the server.
    Full,
    /// The issuer only.
    Issuer,
    /// Nothing: the connection is encrypted, perhaps to an impostor.
    Nothing,
}

/// TLS of one server's clients.
///
/// Files are read again for each new connection, so renewed certificates need no restart.
pub struct Tls {
    files: TlsFiles,
    verify: Verify,
    server_name: Option<ServerName<'static>>,
    /// Protocols to offer (ALPN).
    protocols: Vec<Vec<u8>>,
    last: Mutex<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if a file cannot be read or contains no certificate or key, if certificate and
    /// key do not belong together, or if the system has no root certificates.
    pub fn new(files: TlsFiles, verify: Verify) -> Result<Self> {
        let config = client_config(&files, verify, &[])?;
        Ok(Self {
            files,
            verify,
            server_name: None,
            protocols: Vec::new(),
            last: Mutex::new(config),
        })
    }

    /// Sets the name that the server's certificate must have, instead of the host's.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if it is no name and no address.
    pub fn with_server_name(mut self, name: &str) -> Result<Self> {
        self.server_name = Some(server_name(name)?);
        Ok(self)
    }

    /// Sets the protocol to offer (ALPN).
    #[must_use]
    pub fn with_protocol(mut self, protocol: &str) -> Self {
        self.protocols = vec![protocol.as_bytes().to_vec()];
        let last = self.last.get_mut().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(last).alpn_protocols = self.protocols.clone();
        self
    }

    /// Returns what is verified.
    #[must_use]
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// Returns the configuration for a new connection. If a file cannot be read any more, this is
    /// the last one that could be.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if has_paths(&self.files) {
            match client_config(&self.files, self.verify, &self.protocols) {
                Ok(config) => *last = config,
                Err(why) => {
                    tracing::error!(code = why.code(), "{why}; the old certificates are used");
                }
            }
        }
        Arc::clone(&last)
    }

    /// Returns the name that the certificate of this host must have.
    pub(crate) fn name_of(&self, host: &str) -> Result<ServerName<'static>> {
        self.server_name
            .clone()
            .map_or_else(|| server_name(host), Ok)
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| invalid(format!("{host:?} is no name that a certificate can have")))
}

fn invalid(text: String) -> Error {
    Error::reject("tls_invalid", text)
}

/// Returns a configuration without any certificate of its own use of process-wide defaults.
fn client_config(
    files: &TlsFiles,
    verify: Verify,
    protocols: &[Vec<u8>],
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(files, verify, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| invalid(why.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity(files)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|why| invalid(format!("the certificate and the key do not fit: {why}")))?,
    };
    config.alpn_protocols = protocols.to_vec();
    Ok(Arc::new(config))
}

fn verifier(
    files: &TlsFiles,
    verify: Verify,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    if verify == Verify::Nothing {
        return Ok(Arc::new(AnyCertificate::new(Arc::clone(provider))));
    }
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(roots(files)?);
    let roots = Arc::new(trusted);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|why| invalid(format!("the authorities cannot be used: {why}")))?;
    Ok(match verify {
        Verify::Issuer => Arc::new(AnyName(verifier)),
        Verify::Full | Verify::Nothing => verifier,
    })
}

/// Returns the certificates of the authorities, each of which rustls can use.
///
/// # Errors
///
/// `tls_invalid` if the file cannot be read or a certificate in it cannot be used, or if the system
/// has no root certificates.
pub fn roots(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>> {
    let add = |certificate: &CertificateDer<'static>| {
        RootCertStore::empty().add(certificate.clone()) // Parses it.
    };
    if let Some(ca) = files.own_ca() {
        let all = certificates(ca, "authority")?;
        for certificate in &all {
            add(certificate).map_err(|why| {
                invalid(format!("the authority{} cannot be used: {why}", origin(ca)))
            })?;
        }
        return Ok(all);
    }
    let mut found = rustls_native_certs::load_native_certs().certs;
    // Systems keep old certificates in forms that rustls does not accept.
    found.retain(|it| add(it).is_ok());
    if found.is_empty() {
        let text = "the system has no root certificates: install them (on Debian the package \
                    ca-certificates), or name a file with the authority's";
        return Err(invalid(text.into()));
    }
    Ok(found)
}

/// A certificate with its intermediates, and its private key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Returns the certificate that the client presents; `None` if none is set.
///
/// # Errors
///
/// `tls_invalid` if only one of certificate and key is set, or if one of them cannot be read.
pub fn identity(files: &TlsFiles) -> Result<Option<Identity>> {
    match (&files.certificate, &files.key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((
            certificates(certificate, "certificate")?,
            private_key(key)?,
        ))),
        (Some(_), None) => Err(invalid("a certificate needs its key".into())),
        (None, Some(_)) => Err(invalid("a key needs its certificate".into())),
    }
}

/// Returns whether a value is the path of a file, whose content may change.
pub fn has_paths(files: &TlsFiles) -> bool {
    let values = [
        files.own_ca(),
        files.certificate.as_deref(),
        files.key.as_deref(),
    ];
    let mut values = values.into_iter().flatten();
    values.any(|it| !it.starts_with(PEM))
}

/// Returns where a value comes from, for messages.
fn origin(value: &str) -> String {
    if value.starts_with(PEM) {
        String::new()
    } else {
        format!(" in {value:?}")
    }
}

/// Returns the PEM text of a value of [`TlsFiles`]; `what` names it in errors.
///
/// # Errors
///
/// `tls_invalid` if the file cannot be read.
pub fn pem(value: &str, what: &str) -> Result<Vec<u8>> {
    if value.starts_with(PEM) {
        return Ok(value.as_bytes().to_vec());
    }
    std::fs::read(value)
        .map_err(|why| invalid(format!("the {what} in {value:?} cannot be read: {why}")))
}

fn certificates(value: &str, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = pem(value, what)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(invalid(format!(
            "the {what}{} has no certificate in PEM form",
            origin(value)
        ))),
        Err(_) => Err(invalid(format!("the {what}{} is not PEM", origin(value)))),
    }
}

fn private_key(value: &str) -> Result<PrivateKeyDer<'static>> {
    let text = pem(value, "key")?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // The reason might quote the key.
        invalid(format!(
            "the key{} has no private key in PEM form without a password",
            origin(value)
        ))
    })
}
