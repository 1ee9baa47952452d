//! `shop ready`: whether the process with these settings is ready, as an exit code. The health check of containers,
//! which have no other program to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use shop_client::http::{Call, Client, Limits};

/// Longest wait for an answer: less than a health check waits for us.
const WITHIN: Duration = Duration::from_millis(1500);

/// Asks `/readyz` at this address: exit code 0 when it is ready; 1 and one line on stderr when it is not, does
/// not answer, or nobody listens.
pub async fn run(listen: SocketAddr) -> ExitCode {
    let url = format!("http://{}", reachable(listen));
    match ask(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("shop ready: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(url: &str) -> Result<(), String> {
    let base = url.parse().map_err(|why| format!("{url}: {why}"))?;
    let limits = Limits {
        request: WITHIN,
        ..Limits::default()
    };
    let answer = Client::new(base, limits).send(&Call::get("/readyz")).await;
    let answer = answer.map_err(|why| format!("nobody answers at {url}: {why}"))?;
    if answer.status == 200 {
        return Ok(());
    }
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("not ready");
    Err(format!("{url} says {}: {detail}", answer.status.as_u16()))
}

/// Where a process that listens on every address of its machine is met on the machine itself.
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
    fn a_process_that_listens_everywhere_is_asked_on_the_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(at("[::]:1"), "[::1]:1");
        assert_eq!(at("192.0.2.1:2"), "192.0.2.1:2");
    }
}
