//! A client that keeps its connection, as proxies and browsers do. It notices if a response leaves
//! the connection unusable without saying so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw::Reply;

/// The longest wait for a response, or for the end of a connection. No response is that slow.
const WITHIN: Duration = Duration::from_secs(60);

/// A client with one connection.
pub struct Kept {
    to: SocketAddr,
    connection: Option<TcpStream>,
    /// The first line of the request before on the same connection.
    before: Option<String>,
    /// Connections so far.
    pub connections: usize,
}

impl Kept {
    /// A client that connects with its first request.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            connection: None,
            before: None,
            connections: 0,
        }
    }

    /// Sends the bytes of a request and reads its response.
    ///
    /// # Panics
    ///
    /// If there is no whole response, although the response before did not close the connection; or
    /// if a response says that the connection closes, and it does not.
    pub async fn ask(&mut self, request: &[u8]) -> Reply {
        let answered = tokio::time::timeout(WITHIN, self.exchange(request)).await;
        answered.unwrap_or_else(|_| panic!("no response to {}", first_line(request)))
    }

    async fn exchange(&mut self, request: &[u8]) -> Reply {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.before = None;
                self.connections += 1;
                TcpStream::connect(self.to).await.expect("the shop listens")
            }
        };
        let line = first_line(request);
        // A server may refuse a head and close before the whole body is sent.
        let sent = connection.write_all(request).await;
        let mut bytes = Vec::new();
        let whole = read(&mut connection, &mut bytes, line.starts_with("HEAD ")).await;
        let after = self.before.as_deref().unwrap_or("nothing");
        assert!(
            whole,
            "no whole response to {line} ({sent:?}), on a connection kept after {after}; it began {:?}",
            String::from_utf8_lossy(&bytes)
        );
        let reply = Reply::of(&bytes);
        let closes = reply.header("connection") == Some("close");
        if closes {
            let mut rest = Vec::new();
            // A reset counts as an end.
            let _ = connection.read_to_end(&mut rest).await;
            assert!(rest.is_empty(), "bytes after the last response, to {line}");
        } else {
            self.connection = Some(connection);
            self.before = Some(line);
        }
        reply
    }
}

fn first_line(request: &[u8]) -> String {
    let line = request.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    line.chars().take(120).collect()
}

/// Reads one response. Returns whether it is whole.
async fn read(connection: &mut TcpStream, bytes: &mut Vec<u8>, is_head: bool) -> bool {
    loop {
        if let Some(length) = length(bytes, is_head)
            && bytes.len() >= length
        {
            bytes.truncate(length);
            return true;
        }
        match connection.read_buf(bytes).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// Returns the length of the response that begins with these bytes; `None` until it is known.
fn length(bytes: &[u8], is_head: bool) -> Option<usize> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if is_head || matches!(status, "204" | "304") {
        return Some(end);
    }
    if head.contains("transfer-encoding: chunked") {
        let last = bytes[end..].windows(5).position(|it| it == b"0\r\n\r\n")?;
        return Some(end + last + 5);
    }
    let mut lines = head.lines();
    let body = lines.find_map(|line| line.strip_prefix("content-length: "))?;
    Some(end + body.trim().parse::<usize>().ok()?)
}
