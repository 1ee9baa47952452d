//! A warning about connections over networks that are not private.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::join_all;

use crate::tls::Verify;
use crate::url::Host;

/// The time limit for resolving the names of hosts.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The protection of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// None.
    Plaintext,
    /// TLS if the server offers it, so none against an attacker.
    Opportunistic,
    /// TLS.
    Tls(Verify),
}

/// Logs one warning if a host is neither on this machine nor in a private network and the
/// connection to it is not protected.
pub async fn warn_if_exposed(server: &str, hosts: &[Host], protection: Protection) {
    let exposed = match protection {
        Protection::Plaintext => "passwords and data cross the network in plain text",
        Protection::Opportunistic => {
            "an attacker can make passwords and data cross the network in plain text"
        }
        Protection::Tls(Verify::Nothing) => {
            "the server's certificate is not verified, so an attacker can read passwords and data"
        }
        Protection::Tls(Verify::Issuer | Verify::Full) => return,
    };
    let public = join_all(hosts.iter().map(is_public)).await;
    let public = public.iter().zip(hosts).find(|(public, _)| **public);
    if let Some((_, host)) = public {
        tracing::warn!(
            code = "connection_exposed",
            "{server} at {} is not in a private network, and {exposed}: use TLS and verify the \
             server (docs/tls.md)",
            host.name
        );
    }
}

/// Returns whether a host has an address outside this machine and private networks. A host whose
/// name cannot be resolved has none.
async fn is_public(host: &Host) -> bool {
    if host.is_unix() {
        return false;
    }
    let found = tokio::net::lookup_host((host.name.as_str(), 0));
    match tokio::time::timeout(RESOLVE_TIMEOUT, found).await {
        Ok(Ok(mut addresses)) => addresses.any(|it| !is_private(it.ip())),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || is_shared(address)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Returns whether the address is of the range for networks of providers (RFC 6598).
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_private_networks_are_private() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.31.0.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }
}
