//! The URL of the shop.

use std::fmt;
use std::str::FromStr;

use ::http::{HeaderValue, Uri};

/// The base URL of a server: `http://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    host: String,
    port: u16,
    header: HeaderValue,
}

/// An invalid base URL. The message does not repeat the input, which can contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The text is not a URL, or has another scheme.
    #[error("invalid URL of the shop: it must have the form http://host:port")]
    Malformed,
    /// The URL contains a user or a password.
    #[error("invalid URL of the shop: it must not contain a user or a password")]
    Credentials,
    /// The URL has a path or a query.
    #[error("invalid URL of the shop: it must not have a path or a query")]
    Path,
}

impl Base {
    /// Returns the host and the port to connect to.
    pub(super) fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns the value of the header `Host`.
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
            // An IPv6 address has brackets in a URL and none in a socket address.
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
    fn a_host_and_a_port_are_a_base_url_with_or_without_a_trailing_slash() {
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
    fn an_invalid_url_is_refused_without_repeating_it() {
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
