//! TLS of a client: its files, what it verifies, and the configuration of rustls.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use wingbeat_core::{Error, Result};

use crate::verifier::{AnyCertificate, AnyName};

/// The value of [`TlsFiles::ca`] that selects the root certificates of the system.
const SYSTEM: &str = "system";
/// The beginning of a value that is PEM text and not a path.
const PEM: &str = "-----BEGIN";

/// The certificates and the key of a client. Each is the path of a PEM file, or PEM text itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of authorities that may issue the server's certificate. `None` or
    /// `"system"` for those of the system.
    pub ca: Option<String>,
    /// The certificate that the client presents, followed by its intermediates.
    pub certificate: Option<String>,
    /// The private key of the certificate.
    pub key: Option<String>,
}

impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsFiles") // The key may be part of it.
    }
}

impl TlsFiles {
    /// Returns whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns these files, and for those that are not set the ones of `defaults`. Certificate and
    /// key belong together.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let own = if self.certificate.is_some() || self.key.is_some() {
            (self.certificate, self.key)
        } else {
            (defaults.certificate.clone(), defaults.key.clone())
        };
        Self {
            ca: self.ca.or_else(|| defaults.ca.clone()),
            certificate: own.0,
            key: own.1,
        }
    }

    /// Returns whether the authorities are those of a file, not those of the system.
    #[must_use]
    pub fn has_own_ca(&self) -> bool {
        self.ca.as_deref().is_some_and(|ca| ca != SYSTEM)
    }
}

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
        let are_paths = [&self.files.ca, &self.files.certificate, &self.files.key];
        let is_path = |it: &&Option<String>| {
            it.as_ref()
                .is_some_and(|it| it != SYSTEM && !it.starts_with(PEM))
        };
        if are_paths.iter().any(is_path) {
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
    let mut config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "certificate")?;
            let key = private_key(key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|why| invalid(format!("the certificate and the key do not fit: {why}")))?
        }
        (Some(_), None) => return Err(invalid("a certificate needs its key".into())),
        (None, Some(_)) => return Err(invalid("a key needs its certificate".into())),
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
    let roots = Arc::new(roots(files)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|why| invalid(format!("the authorities cannot be used: {why}")))?;
    Ok(match verify {
        Verify::Issuer => Arc::new(AnyName(verifier)),
        Verify::Full | Verify::Nothing => verifier,
    })
}

/// Returns the certificates of the authorities.
fn roots(files: &TlsFiles) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match files.ca.as_deref().filter(|ca| *ca != SYSTEM) {
        Some(ca) => {
            for certificate in certificates(ca, "authority")? {
                roots.add(certificate).map_err(|why| {
                    invalid(format!("the authority{} cannot be used: {why}", origin(ca)))
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let text = "the system has no root certificates: install them (on Debian the \
                            package ca-certificates), or name a file with the authority's";
                return Err(invalid(text.into()));
            }
        }
    }
    Ok(roots)
}

/// Returns where a value comes from, for messages.
fn origin(value: &str) -> String {
    if value.starts_with(PEM) {
        String::new()
    } else {
        format!(" in {value:?}")
    }
}

fn read(value: &str, what: &str) -> Result<Vec<u8>> {
    if value.starts_with(PEM) {
        return Ok(value.as_bytes().to_vec());
    }
    std::fs::read(value)
        .map_err(|why| invalid(format!("the {what} in {value:?} cannot be read: {why}")))
}

fn certificates(value: &str, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(value, what)?;
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
    let text = read(value, "key")?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // The reason might quote the key.
        invalid(format!(
            "the key{} has no private key in PEM form without a password",
            origin(value)
        ))
    })
}
