//! Certificates for tests.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority that exists for one test.
///
/// ```
/// let authority = wingbeat_servers::Authority::new();
/// let issued = authority.issue(&["localhost", "127.0.0.1"]);
/// assert!(issued.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
/// ```
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate and its key, as PEM text.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates an authority with a new key.
    ///
    /// # Panics
    ///
    /// If the system has no random numbers.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.self_signed(&key).expect("the parameters are right");
        Self { certificate, key }
    }

    /// Returns the certificate of the authority as PEM text.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// Issues a certificate for a server with these names and addresses.
    ///
    /// # Panics
    ///
    /// If a name cannot be part of a certificate.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(server(names))
    }

    /// Issues a certificate that expired in 2020.
    ///
    /// # Panics
    ///
    /// As for [`issue`](Self::issue).
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        let mut params = server(names);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    /// Issues a certificate for a client. The name is its common name.
    ///
    /// # Panics
    ///
    /// As for [`issue`](Self::issue).
    #[must_use]
    pub fn issue_to(&self, client: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, client);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Issued {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.certificate, &self.key);
        Issued {
            certificate: certificate.expect("the parameters are right").pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// Returns the TLS of a server with this certificate. With `clients`, it requires certificates
    /// of that authority.
    ///
    /// # Panics
    ///
    /// If rustls cannot use the certificate.
    #[must_use]
    pub fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
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

fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are right");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
