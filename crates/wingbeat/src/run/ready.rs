//! `<program> ready`: exits with the readiness of the process with these settings. Serves as health
//! check in containers without other programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use super::output::complain;
use crate::call::HyperClient;
use crate::outgoing::Request;
use wingbeat_core::HttpClient as _;

/// The longest wait for a response; health checks wait longer.
const WITHIN: Duration = Duration::from_millis(1500);

/// Requests `/readyz` at this address: exit code 0 if it is ready; else 1, and one line on stderr.
pub(super) async fn run(program: &str, listen: SocketAddr) -> ExitCode {
    match ask(reachable(listen)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(format_args!("{program} ready: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn ask(address: SocketAddr) -> Result<(), String> {
    let url = format!("http://{address}");
    let request = Request {
        method: "GET",
        url: format!("{url}/readyz"),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        timeout: WITHIN,
    };
    let answer = HyperClient::new().send(request).await;
    let answer = answer.map_err(|why| format!("{url} does not answer: {why}"))?;
    if answer.status == 200 {
        return Ok(());
    }
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("not ready");
    Err(format!("{url} answers {}: {detail}", answer.status))
}

/// The loopback address of a process that listens on every address of its machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_listens_on_every_address_is_asked_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(at("[::]:1"), "[::1]:1");
        assert_eq!(at("192.0.2.1:2"), "192.0.2.1:2");
    }
}
