//! The URL of the shop.

use std::fmt;
use std::str::FromStr;

use ::http::{HeaderValue, Uri};
use wingbeat_connect::Host;

/// The base URL of a server: `http://host[:port]` or `https://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    host: Host,
    secure: bool,
    header: HeaderValue,
}

/// An invalid base URL. The message does not repeat the input, which can contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The text is not a URL, or has another scheme.
    #[error("invalid URL of the shop: it must have the form http://host:port or https://host:port")]
    Malformed,
    /// The URL contains a user or a password.
    #[error("invalid URL of the shop: it must not contain a user or a password")]
    Credentials,
    /// The URL has a path, a query or a fragment.
    #[error("invalid URL of the shop: it must not have a path, a query or a fragment")]
    Path,
}

impl Base {
    /// Returns the host to connect to.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port of a host that has none.
    pub(super) fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    /// Returns whether the URL asks for TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
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
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadUrl::Malformed),
        };
        if !matches!(uri.path(), "" | "/") || text.contains(['?', '#']) {
            return Err(BadUrl::Path);
        }
        let host = Host::parse(authority.as_str()).map_err(|_| BadUrl::Malformed)?;
        if host.is_unix() {
            return Err(BadUrl::Malformed);
        }
        Ok(Self {
            host,
            secure,
            header: HeaderValue::from_str(authority.as_str()).map_err(|_| BadUrl::Malformed)?,
        })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let authority = String::from_utf8_lossy(self.header.as_bytes());
        write!(f, "{scheme}://{authority}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_a_base_url_with_or_without_a_trailing_slash() {
        let base: Base = "http://127.0.0.1:8080/".parse().unwrap();
        let host = |base: &Base| (base.host().name.clone(), base.host().port);
        assert_eq!(host(&base), ("127.0.0.1".into(), Some(8080)));
        assert_eq!(base.to_string(), "http://127.0.0.1:8080");
        let six: Base = "http://[::1]:99".parse().unwrap();
        assert_eq!(host(&six), ("::1".into(), Some(99)));
        let plain: Base = "http://shop".parse().unwrap();
        assert_eq!((plain.default_port(), plain.is_secure()), (80, false));
        let secure: Base = "https://shop".parse().unwrap();
        assert_eq!((secure.default_port(), secure.is_secure()), (443, true));
        assert_eq!(secure.to_string(), "https://shop");
    }

    #[test]
    fn an_invalid_url_is_refused_without_repeating_it() {
        for (text, expected) in [
            ("127.0.0.1:8080", BadUrl::Malformed),
            ("ftp://shop", BadUrl::Malformed),
            ("http://", BadUrl::Malformed),
            ("http://shop:", BadUrl::Malformed),
            ("http://shop:0", BadUrl::Malformed),
            ("http://a,b", BadUrl::Malformed),
            ("http://%2Frun%2Fshop", BadUrl::Malformed),
            ("http://admin:hunter2@shop", BadUrl::Credentials),
            ("http://shop/api", BadUrl::Path),
            ("http://shop?a=1", BadUrl::Path),
            ("http://shop#a", BadUrl::Path),
        ] {
            let error = text.parse::<Base>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
