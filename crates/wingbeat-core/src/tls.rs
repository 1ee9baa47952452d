//! The TLS settings of connections to other systems. The crate `wingbeat-connect` reads the files.

/// The value of [`TlsFiles::ca`] that selects the root certificates of the system.
const SYSTEM: &str = "system";

/// The certificates and the key of a client. Each is the path of a PEM file, or PEM text itself.
/// `Default` trusts the authorities of the system and presents no certificate.
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

    /// Returns the authorities of a file, or `None` for those of the system.
    #[must_use]
    pub fn own_ca(&self) -> Option<&str> {
        self.ca.as_deref().filter(|ca| *ca != SYSTEM)
    }

    /// Returns whether the authorities are those of a file, not those of the system.
    #[must_use]
    pub fn has_own_ca(&self) -> bool {
        self.own_ca().is_some()
    }
}
