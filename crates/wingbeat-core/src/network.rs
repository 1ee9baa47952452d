//! Addresses of this machine and of private networks.
//!
//! All decisions about the origin of a request, or about the way to a server, use these functions.
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) counts as the former.
#![allow(
    clippy::disallowed_methods,
    reason = "the methods of the standard library are refused elsewhere: each covers a part only"
)]

use std::net::{IpAddr, Ipv4Addr};

/// Returns whether the address belongs to this machine.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Returns whether the address belongs to this machine or to a private network: a private range
/// (RFC 1918, RFC 4193), a link (RFC 3927, RFC 4291), or the range that providers share (RFC 6598),
/// which clouds give to containers.
///
/// ```
/// use wingbeat_core::network::is_private;
///
/// assert!(is_private([10, 1, 2, 3].into()));
/// assert!(!is_private([192, 0, 2, 1].into()));
/// ```
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
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

fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

/// Returns whether a host without a port is `localhost` or an address of this machine. An IPv6
/// address may have brackets.
#[must_use]
pub fn names_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_this_machine_of_a_private_network_or_public() {
        const MACHINE: (bool, bool) = (true, true);
        const PRIVATE: (bool, bool) = (false, true);
        const PUBLIC: (bool, bool) = (false, false);
        for (address, expected) in [
            ("127.0.0.1", MACHINE),
            ("127.255.255.255", MACHINE),
            ("::1", MACHINE),
            ("::ffff:127.0.0.1", MACHINE),
            ("10.1.2.3", PRIVATE),
            ("172.16.0.1", PRIVATE),
            ("172.31.255.255", PRIVATE),
            ("192.168.1.1", PRIVATE),
            ("169.254.1.1", PRIVATE),
            ("100.64.0.0", PRIVATE),
            ("100.127.255.255", PRIVATE),
            ("::ffff:10.0.0.1", PRIVATE),
            ("::ffff:100.64.0.1", PRIVATE),
            ("fd00::1", PRIVATE),
            ("fe80::1", PRIVATE),
            ("0.0.0.0", PUBLIC),
            ("8.8.8.8", PUBLIC),
            ("126.255.255.255", PUBLIC),
            ("128.0.0.1", PUBLIC),
            ("172.15.255.255", PUBLIC),
            ("172.32.0.1", PUBLIC),
            ("192.0.2.7", PUBLIC),
            ("100.63.255.255", PUBLIC),
            ("100.128.0.0", PUBLIC),
            ("::", PUBLIC),
            ("2001:db8::1", PUBLIC),
            ("::ffff:8.8.8.8", PUBLIC),
            ("::ffff:100.128.0.1", PUBLIC),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            let found = (is_loopback(parsed), is_private(parsed));
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn a_host_names_this_machine_by_name_or_address() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "::1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.example",
            "localhost.",
            "10.0.0.1",
            "[::1",
            "::1]",
            "example",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
