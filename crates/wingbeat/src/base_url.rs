//! Base URLs of HTTP servers.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;

/// The base URL of an HTTP server, such as `https://api.example.com/v1`: a type for own settings.
///
/// A URL with a part that requests would ignore is refused: a user, a password, a query, a
/// fragment, several hosts. `Display` prints it without a `/` at its end.
///
/// ```
/// use wingbeat::BaseUrl;
///
/// let provider: BaseUrl = "https://api.example.com/v1/".parse()?;
/// assert_eq!(provider.to_string(), "https://api.example.com/v1");
/// assert!("api.example.com".parse::<BaseUrl>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Returns the URL without a `/` at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BaseUrl {
    type Err = String;

    /// Parses a URL. The error contains no part of it.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| Err(why.to_owned());
        let Ok(uri) = text.parse::<Uri>() else {
            return refused("it is not a URL");
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return refused("the scheme is neither http nor https");
        }
        let authority = uri.authority().map_or("", |it| it.as_str());
        if authority.contains('@') {
            return refused("a user and a password are not supported");
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return refused("the host is missing");
        }
        if !is_host(host) {
            return refused("the host is neither one name nor one address");
        }
        let port = authority.strip_prefix(host).unwrap_or_default();
        if !port.is_empty() && uri.port_u16().is_none_or(|it| it == 0) {
            return refused("the port is not a number up to 65535");
        }
        if text.contains(['?', '#']) {
            return refused("a query and a fragment are not supported");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return matches!(address, Some(Ok(_)));
    }
    host.chars()
        .all(|it| it.is_ascii_alphanumeric() || "-._".contains(it))
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_no_part_that_requests_would_ignore() {
        let base = |text: &str| text.parse::<BaseUrl>();
        for right in ["http://a", "https://[::1]:8443/v1/", "http://10.0.0.1:1/"] {
            let url = base(right).expect("it is right");
            assert_eq!(url.as_str(), right.trim_end_matches('/'));
        }
        for (wrong, part) in [
            ("", "not a URL"),
            ("a:1", "scheme"),
            ("/v1", "scheme"),
            ("ftp://a", "scheme"),
            ("http://", "not a URL"),
            ("http://u:s3cret@a", "user"),
            ("http://s3cret@a", "user"),
            ("http://a:", "port"),
            ("http://a:0", "port"),
            ("http://a:99999", "port"),
            ("http://a,b", "host"),
            ("http://a:1,b:2", "not a URL"),
            ("http://%61", "not a URL"),
            ("http://[a]", "host"),
            ("http://a/?x=1", "query"),
            ("http://a/#x", "fragment"),
            ("http://a b/", "not a URL"),
        ] {
            let why = base(wrong).expect_err(wrong);
            assert!(
                why.contains(part) && !why.contains("s3cret"),
                "{wrong}: {why}"
            );
        }
    }
}
