//! The TLS settings of connections to other systems. The crate `wingbeat-tls` loads the files.

use std::net::IpAddr;
use std::path::PathBuf;

/// The files of PEM data for connections with TLS. `Default` trusts the authorities of the operating
/// system and sends no client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that are trusted *instead of* those of the operating
    /// system.
    pub ca: Option<PathBuf>,
    /// The client certificate and its intermediate certificates, for servers that require one.
    pub certificate: Option<PathBuf>,
    /// The private key of the client certificate.
    pub key: Option<PathBuf>,
}

/// Returns whether a host is on this machine or in a private network, as far as its name tells. A
/// connection without TLS to any other host deserves a warning.
///
/// Private are loopback, RFC 1918, link-local and unique local addresses, names of one label (as in
/// a Compose network), and names below `localhost`, `local`, `internal`, `lan`, `test` and `svc`.
///
/// ```
/// use wingbeat_core::tls::is_private_host;
///
/// assert!(is_private_host("127.0.0.1") && is_private_host("[::1]") && is_private_host("broker"));
/// assert!(!is_private_host("203.0.113.9") && !is_private_host("api.example.com"));
/// ```
#[must_use]
pub fn is_private_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        };
    }
    let name = bare.trim_end_matches('.');
    let mut labels = name.rsplit('.');
    let last = labels.next().unwrap_or_default();
    let private = ["localhost", "local", "internal", "lan", "test", "svc"];
    labels.next().is_none() || private.iter().any(|it| last.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_are_private_by_address_or_name_need_no_tls() {
        let private = [
            "localhost",
            "127.9.9.9",
            "::1",
            "[fd00::1]",
            "fe80::1",
            "10.0.0.1",
            "::ffff:192.168.0.1",
            "redis.shop.svc",
            "db.LOCAL.",
        ];
        for host in private {
            assert!(is_private_host(host), "{host}");
        }
        for host in [
            "8.8.8.8",
            "2001:db8::1",
            "shop.example",
            "localhost.example.com",
            "",
        ] {
            assert_eq!(is_private_host(host), host.is_empty(), "{host}");
        }
    }
}
