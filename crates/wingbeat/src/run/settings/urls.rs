//! URLs among the settings: their form, and the features that they need.

use std::collections::BTreeMap;
use std::fmt;

use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;
use wingbeat_core::tls::is_private_host;

use super::error::SettingsError;
use super::field::Field;
use super::lookup::{Found, Lookup, UPSTREAM};

/// The base URL of an HTTP server, such as `https://api.example.com/v1`: a type for own settings.
///
/// A URL with a part that requests would ignore is refused: a user, a password, a query, a fragment.
/// `Display` prints it without a `/` at its end.
///
/// ```
/// use wingbeat::run::BaseUrl;
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
        if uri.host().is_none_or(str::is_empty) {
            return refused("the host is missing");
        }
        let port = authority.strip_prefix(uri.host().unwrap_or_default());
        if port.is_some_and(|it| !it.is_empty()) && uri.port_u16().is_none() {
            return refused("the port is not a number up to 65535");
        }
        if text.contains(['?', '#']) {
            return refused("a query and a fragment are not supported");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An HTTP address among the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The flag, variable or key.
    pub(crate) origin: String,
    /// The host.
    pub(crate) host: String,
    /// The URL asks for TLS.
    pub(crate) secure: bool,
}

impl Address {
    fn of(origin: &str, url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            origin: origin.to_owned(),
            host: uri.host()?.to_owned(),
            secure,
        })
    }

    /// Returns whether what is sent to the address can be read on the way.
    pub(crate) fn is_exposed(&self) -> bool {
        !self.secure && !is_private_host(&self.host)
    }
}

/// Checks the URLs of the settings, and returns the HTTP addresses among them.
pub(super) fn gather(
    otlp: Option<&Found>,
    upstreams: &BTreeMap<String, String>,
    own: &[Field],
    look: &Lookup<'_>,
) -> Result<Vec<Address>, SettingsError> {
    let mut urls = Vec::new();
    urls.extend(otlp.and_then(|found| Address::of(&found.origin, &found.value)));
    for (service, replicas) in upstreams {
        let origin = format!("{UPSTREAM}{}", service.to_ascii_uppercase());
        for replica in replicas.split(',').map(str::trim) {
            if let Err(why) = replica.parse::<BaseUrl>() {
                return Err(SettingsError::InvalidSecret {
                    origin,
                    expected: format!("a list of URLs such as http://orders:8080: {why}"),
                });
            }
            urls.extend(Address::of(&origin, replica));
        }
    }
    for field in own.iter().filter(|field| field.is_url()) {
        if let Some(found) = look.find(&field.key, &field.env)? {
            urls.extend(Address::of(&found.origin, &found.value));
        }
    }
    check_built(&urls, cfg!(feature = "https"))?;
    Ok(urls)
}

/// Refuses addresses with TLS in a program without it.
fn check_built(urls: &[Address], has_https: bool) -> Result<(), SettingsError> {
    match urls.iter().find(|it| it.secure) {
        Some(secure) if !has_https => Err(SettingsError::NotBuilt {
            origin: secure.origin.clone(),
            feature: "https",
        }),
        _ => Ok(()),
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
        for wrong in [
            "",
            "a:1",
            "/v1",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a:",
            "http://a:99999",
            "http://a/?x=1",
            "http://a/#x",
            "http://a b/",
        ] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_program_without_tls_refuses_an_https_url_by_the_name_of_the_feature() {
        let urls: Vec<Address> = ["http://a", "https://b"]
            .iter()
            .filter_map(|url| Address::of(&format!("--{url}"), url))
            .collect();
        assert_eq!(check_built(&urls, true), Ok(()));
        let refused = check_built(&urls, false).expect_err("it has no TLS");
        assert_eq!(
            refused.to_string(),
            "--https://b: this program was built without the feature `https` [not_built: docs/errors/not_built.md]"
        );
        assert_eq!(check_built(&urls[..1], false), Ok(()));
    }

    #[test]
    fn only_plain_addresses_outside_of_private_networks_are_exposed() {
        let is_exposed = |url| Address::of("it", url).is_some_and(|it| it.is_exposed());
        assert!(is_exposed("http://api.example.com"));
        assert!(!is_exposed("https://api.example.com"));
        assert!(!is_exposed("http://orders:8080"));
        assert!(!is_exposed("smtp://api.example.com"));
    }
}
