//! Where the shop is.

use std::fmt;
use std::str::FromStr;

use ::http::{HeaderValue, Uri};

/// The address of a server: `http://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    host: String,
    port: u16,
    header: HeaderValue,
}

/// Not an address of a server. It does not repeat what was given, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not a URL, or one of another scheme.
    #[error("the URL of the shop must read http://host:port")]
    Malformed,
    /// `user:password@host`.
    #[error("the URL of the shop must not hold a user or a password")]
    Credentials,
    /// Something after the port.
    #[error("the URL of the shop must end after the port")]
    Path,
}

impl Base {
    /// Host and port to connect to.
    pub(super) fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The value of the header `Host`.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl FromStr for Base {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if text.contains('@') {
            return Err(BadUrl::Credentials);
        }
        let uri: Uri = text.trim().parse().map_err(|_| BadUrl::Malformed)?;
        let authority = uri.authority().ok_or(BadUrl::Malformed)?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() {
            return Err(BadUrl::Malformed);
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(BadUrl::Path);
        }
        let host = authority.host();
        Ok(Self {
            // An IPv6 address stands in brackets in a URL and without them in a socket address.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            header: HeaderValue::from_str(authority.as_str()).map_err(|_| BadUrl::Malformed)?,
        })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "http://{}",
            String::from_utf8_lossy(self.header.as_bytes())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_an_address_with_or_without_a_last_slash() {
        let base: Base = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!(base.target(), ("127.0.0.1", 8080));
        assert_eq!(base.to_string(), "http://127.0.0.1:8080");
        let six: Base = "http://[::1]:99".parse().unwrap();
        assert_eq!(six.target(), ("::1", 99));
        assert_eq!(
            "http://shop".parse::<Base>().unwrap().target(),
            ("shop", 80)
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for (text, expected) in [
            ("127.0.0.1:8080", BadUrl::Malformed),
            ("https://shop", BadUrl::Malformed),
            ("http://", BadUrl::Malformed),
            ("http://admin:hunter2@shop", BadUrl::Credentials),
            ("http://shop/api", BadUrl::Path),
        ] {
            let error = text.parse::<Base>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
