//! Certificates for tests, made when they are needed.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority of a test.
///
/// ```
/// use wingbeat_servers::tls::Authority;
///
/// let authority = Authority::new();
/// let server = authority.issue(&["localhost", "127.0.0.1"]);
/// assert!(authority.pem().contains("BEGIN CERTIFICATE"));
/// assert!(server.key.contains("PRIVATE KEY"));
/// ```
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate of an [`Authority`], and its key, both in PEM form.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Creates an authority that nobody else knows.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "each authority is different")]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("the machine has random numbers");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "An authority of a test");
        let certificate = params.self_signed(&key).expect("it is a certificate");
        Self { certificate, key }
    }

    /// Returns its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Issues a certificate for a server with these names and addresses, which is also valid for a
    /// client.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(Self::params(names))
    }

    /// Issues a certificate that expired long ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = Self::params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params
    }

    fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("the machine has random numbers");
        let signed = params.signed_by(&key, &self.certificate, &self.key);
        Issued {
            certificate: signed.expect("it is a certificate").pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// Returns the settings of a server with this certificate.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        self.config(None)
    }

    /// Returns the settings of a server that requires a client certificate of this authority.
    #[must_use]
    pub fn server_for_clients_of(&self, authority: &Authority) -> Arc<ServerConfig> {
        self.config(Some(authority))
    }

    fn config(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("`ring` supports the default versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let own = authority.certificate.der().clone();
                roots.add(own).expect("it is a certificate");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("it has an authority"))
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is a key");
        let chain = vec![certificate.expect("it is a certificate")];
        let config = builder.with_single_cert(chain, key);
        Arc::new(config.expect("certificate and key fit together"))
    }
}
