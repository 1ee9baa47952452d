//! The event stream of a user's orders.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Subject, order};
use crate::wait::BOUND;

/// An open stream and what was read of it.
struct Live {
    socket: TcpStream,
    text: String,
}

impl Live {
    async fn open(shop: &Subject, token: &str, last: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(shop.address).await.unwrap();
        let last = last.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        let head = format!(
            "GET /api/v1/stream HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n{last}\r\n",
            shop.address
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let text = String::new();
        Self { socket, text }
    }

    /// Reads until the text contains these words; returns `false` if the stream ends before.
    async fn until(&mut self, words: &str) -> bool {
        let read = async {
            let mut bytes = [0; 4096];
            while !self.text.contains(words) {
                match self.socket.read(&mut bytes).await {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => self.text += &String::from_utf8_lossy(&bytes[..count]),
                }
            }
            true
        };
        tokio::time::timeout(BOUND, read).await.expect(words)
    }

    /// The ids and data of the events so far.
    fn events(&self) -> Vec<(u64, Value)> {
        let blocks = self.text.split("\n\n");
        let parsed = blocks.filter_map(|block| {
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let id = line("id: ")?.parse().ok()?;
            Some((id, serde_json::from_str(line("data: ")?).ok()?))
        });
        parsed.collect()
    }
}

/// Events of one order, and `Last-Event-ID`.
pub async fn the_stream_sends_every_change_in_order_and_resumes_after_a_cut(shop: Subject) {
    let token = shop.shopper().await;
    let mut live = Live::open(&shop, &token, None).await;
    assert!(live.until(": ping").await);
    let placed = shop.place(&token, "k", &order("tok_ok")).await.json();
    assert!(live.until("\"completed\"").await);
    let events = live.events();
    let statuses: Vec<_> = events
        .iter()
        .filter_map(|(_, data)| data["status"].as_str())
        .collect();
    let expected = [
        "placed",
        "stock_reserved",
        "payment_authorized",
        "paid",
        "shipped",
        "completed",
    ];
    assert_eq!(statuses, expected);
    assert!(
        events
            .iter()
            .all(|(_, data)| data["order_id"] == placed["order_id"])
    );
    assert!(events.is_sorted_by(|a, b| a.0 < b.0));

    let seen = events[2].0.to_string();
    let mut resumed = Live::open(&shop, &token, Some(&seen)).await;
    assert!(resumed.until("\"completed\"").await);
    assert_eq!(resumed.events(), events[3..]);
}

/// Signing out.
pub async fn the_stream_ends_with_the_session(shop: Subject) {
    let token = shop.shopper().await;
    let mut live = Live::open(&shop, &token, None).await;
    assert!(live.until(": ping").await);
    let ended = shop
        .call("DELETE", "/api/v1/sessions/current", &token, &Value::Null)
        .await;
    assert_eq!(ended.status, 204);
    assert!(
        live.until("\r\n0\r\n\r\n").await,
        "the last chunk of the answer"
    );
}
