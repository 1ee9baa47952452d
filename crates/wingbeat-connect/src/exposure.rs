//! A warning about connections over networks that are not private.

use std::time::Duration;

use futures_util::future::join_all;
use wingbeat_core::network::is_private;

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
