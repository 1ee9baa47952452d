//! The name by which a request reaches the server, and requests that can be read in two ways.
//!
//! A proxy, a middleware and a handler must read the same request. Where they could take different
//! values of it (the first `Host` or the second, the target or the header), the request is refused.

use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderName, Request, Version, header};
use wingbeat_core::network::names_loopback;

/// The headers that decide who may do what, or what a request means. Each occurs at most once.
const SINGLE: [HeaderName; 7] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
];

/// Returns the reason why a request has no single meaning; `None` if it has one.
pub(super) fn ambiguity<B>(request: &Request<B>) -> Option<&'static str> {
    let (headers, uri) = (request.headers(), request.uri());
    let repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    if SINGLE.iter().any(|name| repeated(&name)) {
        return Some("a header that may occur once occurs several times");
    }
    if request.version() >= Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Some("the request has no Host header");
    }
    let named = headers.contains_key(header::HOST) || uri.authority().is_some();
    (named && host(headers, uri).is_none())
        .then_some("the Host header is no host, or the request is for another one")
}

/// Returns the host that a request names, with its port. `None` if it names none, or if the request
/// target and the `Host` header name different ones.
pub(super) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let mut values = headers.get_all(header::HOST).iter();
    let header = values.next();
    if values.next().is_some() {
        return None;
    }
    let header = match header {
        Some(value) => Some(value.to_str().ok().filter(|text| is_authority(text))?),
        None => None,
    };
    let target = uri.authority().map(Authority::as_str);
    match (header, target) {
        (Some(header), Some(target)) if !header.eq_ignore_ascii_case(target) => None,
        (header, target) => header.or(target),
    }
}

/// Returns whether the text is a host with an optional port, without a user.
fn is_authority(text: &str) -> bool {
    !text.contains('@') && text.parse::<Authority>().is_ok()
}

/// Returns whether a request names this machine by a loopback name. A page cannot rebind such a
/// name to 127.0.0.1, as it can its own.
#[must_use]
pub fn names_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(host) = host(headers, uri) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    names_loopback(name)
}

/// Returns whether a page of this site sent the request: by `Sec-Fetch-Site`, or where it is absent
/// by comparing `Origin` with the host. Without either, or if one is unclear, it did not.
pub(super) fn is_same_site(headers: &HeaderMap, uri: &Uri) -> bool {
    if headers.contains_key("sec-fetch-site") {
        return single(headers, "sec-fetch-site") == Some("same-origin");
    }
    let origin = single(headers, "origin").and_then(|origin| origin.split_once("://"));
    let (Some((scheme, origin)), Some(host)) = (origin, host(headers, uri)) else {
        return false;
    };
    let default_port = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    let plain = |host: &str| {
        host.strip_suffix(default_port)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    !origin.is_empty() && plain(origin) == plain(host)
}

/// Returns whether a page of another site sent the request. A request without `Sec-Fetch-Site` and
/// `Origin` comes from no page, or from a page whose browser sends neither and may not write.
#[must_use]
pub fn is_of_foreign_page(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    headers.contains_key(header::ORIGIN) && !is_same_site(headers, uri)
}

/// Returns the value of a header that occurs once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn a_request_with_two_meanings_is_refused() {
        let refused = |target, headers: &[_]| ambiguity(&request(target, headers)).is_some();
        let (here, there) = (("host", "localhost:8080"), ("host", "evil.example"));
        assert!(!refused("/", &[here]));
        assert!(!refused("http://LOCALHOST:8080/", &[here]));
        assert!(refused("/", &[]));
        for other in [here, there, ("host", "")] {
            assert!(refused("/", &[here, other]), "{other:?}");
            assert!(refused("/", &[other, here]), "{other:?}");
        }
        assert!(refused("http://localhost:8080/", &[there]));
        assert!(refused("http://evil.example/", &[here]));
        for host in ["a b", "user@localhost", "localhost:8080, evil.example", "/"] {
            assert!(refused("/", &[("host", host)]), "{host}");
        }
        let single = [
            "authorization",
            "origin",
            "sec-fetch-site",
            "idempotency-key",
        ];
        for name in single.into_iter().chain(["content-type", "last-event-id"]) {
            assert!(!refused("/", &[here, (name, "a")]), "{name}");
            assert!(refused("/", &[here, (name, "a"), (name, "a")]), "{name}");
        }
        assert!(!refused("/", &[here, ("accept", "a"), ("accept", "b")]));
    }

    #[test]
    fn only_an_unambiguous_loopback_name_names_this_machine() {
        let named = |target, hosts: &[&'static str]| {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let request = request(target, &headers);
            names_this_machine(request.headers(), request.uri())
        };
        for host in ["localhost", "LocalHost:8080", "127.9.9.9:1", "[::1]:8080"] {
            assert!(named("/", &[host]), "{host}");
        }
        for host in [
            "shop.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "a@localhost",
        ] {
            assert!(!named("/", &[host]), "{host}");
        }
        assert!(!named("/", &[]));
        assert!(!named("/", &["localhost", "evil.example"]));
        assert!(!named("http://evil.example/", &["localhost"]));
        assert!(!named("http://localhost/", &["evil.example"]));
    }

    #[test]
    fn a_page_is_of_this_site_only_if_the_request_says_so() {
        let same = |headers: &[_]| {
            let request = request("/", headers);
            is_same_site(request.headers(), request.uri())
        };
        let (host, origin) = (("host", "Shop.example"), ("origin", "https://shop.example"));
        assert!(same(&[host, origin]));
        assert!(same(&[("host", "shop.example:443"), origin]));
        assert!(same(&[("sec-fetch-site", "same-origin")]));
        assert!(!same(&[]));
        assert!(!same(&[origin]), "there is no host to compare with");
        for origin in [
            "null",
            "",
            "https://",
            "://",
            "https://evil.example",
            "shop.example",
        ] {
            assert!(!same(&[("origin", origin)]), "{origin}");
            assert!(!same(&[("origin", origin), host]), "{origin}");
            assert!(!same(&[("origin", origin), ("host", "")]), "{origin}");
        }
        assert!(!same(&[host, origin, ("origin", "https://evil.example")]));
        assert!(!same(&[host, origin, ("sec-fetch-site", "cross-site")]));
        let both = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(!same(&both));
    }

    #[test]
    fn a_page_is_foreign_by_either_header() {
        let foreign = |headers: &[_]| {
            let request = request("/", headers);
            is_of_foreign_page(request.headers(), request.uri())
        };
        let host = ("host", "localhost:8080");
        assert!(!foreign(&[host]), "a program");
        let own = ("origin", "http://localhost:8080");
        for ours in [
            own,
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(!foreign(&[host, ours]), "{ours:?}");
        }
        for theirs in [
            ("origin", "https://evil.example"),
            ("origin", "http://localhost:9000"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(foreign(&[host, theirs]), "{theirs:?}");
            assert!(foreign(&[host, theirs, own]), "{theirs:?}");
        }
    }
}
