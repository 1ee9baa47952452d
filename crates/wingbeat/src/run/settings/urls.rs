//! URLs among the settings, and the features that they need.

use std::collections::BTreeMap;

use http::Uri;

use super::error::SettingsError;
use super::field::Field;
use super::lookup::{Found, Lookup, UPSTREAM};

/// A URL among the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The flag, variable or key.
    pub(crate) origin: String,
    /// The URL asks for TLS, or its scheme is not one of HTTP and it does not say `tls=off`.
    pub(crate) may_use_tls: bool,
    /// Host and port, if it is an HTTP URL.
    pub(crate) http: Option<(String, Option<u16>)>,
}

impl Address {
    fn of(origin: &str, url: &str) -> Self {
        let uri = url.parse::<Uri>().unwrap_or_default();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|_| is_http);
        let host = host.map(|it| it.trim_matches(['[', ']']).to_owned());
        let query = url.split_once('?').map_or("", |(_, query)| query);
        Self {
            origin: origin.to_owned(),
            may_use_tls: uri.scheme_str() != Some("http")
                && query.split('&').all(|it| it != "tls=off"),
            http: host.map(|host| (host, uri.port_u16())),
        }
    }

    /// Returns whether requests to the address use TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.may_use_tls && self.http.is_some()
    }
}

/// Returns the URLs of the settings. Those that cannot be read are reported elsewhere.
pub(super) fn gather(
    upstreams: &BTreeMap<String, String>,
    own: &[Field],
    look: &Lookup<'_>,
) -> Vec<Address> {
    let of = |found: Found| Address::of(&found.origin, &found.value);
    let mut urls = Vec::new();
    // One of them stands for those of the same origin.
    let mut collectors: Vec<Found> = look
        .otlp_urls(&mut Vec::new())
        .into_iter()
        .flatten()
        .collect();
    collectors.dedup_by(|one, other| one.origin == other.origin);
    urls.extend(collectors.into_iter().map(of));
    for (service, replicas) in upstreams {
        let origin = format!("{UPSTREAM}{}", service.to_ascii_uppercase());
        urls.extend(replicas.split(',').map(|it| Address::of(&origin, it)));
    }
    for field in own.iter().filter(|field| field.is_url()) {
        urls.extend(look.find(&field.key, &field.env).ok().flatten().map(of));
    }
    urls
}

/// Returns the fault of each `https` URL in a program without TLS.
pub(super) fn not_built(urls: &[Address], has_https: bool) -> Vec<SettingsError> {
    let secure = urls.iter().filter(|it| !has_https && it.is_https());
    let fault = |address: &Address| SettingsError::NotBuilt {
        origin: address.origin.clone(),
        feature: "https",
    };
    secure.map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_tls_refuses_an_https_url_by_the_name_of_the_feature() {
        let urls = ["http://a", "https://b", "smtps://c"];
        let urls = urls.map(|url| Address::of(&format!("--{url}"), url));
        assert_eq!(not_built(&urls, true), []);
        let refused = not_built(&urls, false);
        let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        let expected = "--https://b: this program was built without the feature `https` [not_built: docs/errors/not_built.md]";
        assert_eq!(refused, [expected]);
    }

    #[test]
    fn a_url_may_use_tls_unless_it_says_that_it_does_not() {
        let may = |url| Address::of("it", url).may_use_tls;
        assert!(may("https://a") && may("smtp://a") && may("smtps://a?x=1"));
        assert!(!may("http://a") && !may("smtp://a?tls=off") && !may("smtp://a?x=1&tls=off"));
    }

    #[test]
    fn the_host_of_an_http_url_is_known() {
        let host = |url| Address::of("it", url).http;
        assert_eq!(
            host("http://[fd00::1]:81/x"),
            Some(("fd00::1".into(), Some(81)))
        );
        assert_eq!(host("https://a"), Some(("a".into(), None)));
        assert_eq!(host("smtp://a"), None);
    }
}
