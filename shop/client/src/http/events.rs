//! Server-sent events (HTML Living Standard, section 9.2).

use std::time::Duration;

use ::http::{Response, header};
use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Fault;
use super::connection::Connection;

/// The silence after which a stream counts as broken: four times the interval of the shop's pings.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The longest event in bytes.
const EVENT_MAX: usize = 1 << 20;

/// An event. Fields that the server did not send are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The field `event`.
    pub name: Bytes,
    /// The field `id`.
    pub id: Bytes,
    /// The field `data`, with its lines joined.
    pub data: Bytes,
}

/// An open stream of events.
pub struct EventStream {
    connection: Connection,
    body: Incoming,
    buffer: Buffer,
}

impl EventStream {
    pub(super) fn new(connection: Connection, response: Response<Incoming>) -> Result<Self, Fault> {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !response.status().is_success() || !is_stream {
            return Err(Fault::NoStream(response.status().as_u16()));
        }
        Ok(Self {
            connection,
            body: response.into_body(),
            buffer: Buffer::default(),
        })
    }

    /// Returns the next event; `None` if the server has ended the stream.
    ///
    /// # Errors
    ///
    /// [`Fault::Cut`] if the connection broke; [`Fault::TimedOut`] if it was silent for too long;
    /// [`Fault::TooLong`] if an event exceeds the limit.
    pub async fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.buffer.event() {
                return Ok(Some(event));
            }
            if self.buffer.0.len() > EVENT_MAX {
                return Err(Fault::TooLong(EVENT_MAX));
            }
            let chunk = timeout(SILENCE_MAX, self.connection.chunk(&mut self.body)).await;
            match chunk.map_err(|_| Fault::TimedOut(SILENCE_MAX))?? {
                Some(chunk) => self.buffer.0.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// The bytes that are read but not parsed yet.
#[derive(Default)]
struct Buffer(BytesMut);

impl Buffer {
    /// Removes and returns the next complete event. Comments are skipped.
    fn event(&mut self) -> Option<Event> {
        while let Some(end) = end_of_block(&self.0) {
            let block = self.0.split_to(end).freeze();
            let event = parse(&block);
            if !event.data.is_empty() {
                return Some(event);
            }
        }
        None
    }
}

/// Returns the end of the first block, after its empty line.
fn end_of_block(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[start..start + length];
        start += length + 1;
        if matches!(line, b"" | b"\r") {
            return Some(start);
        }
    }
    None
}

fn parse(block: &Bytes) -> Event {
    let mut event = Event::default();
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = block.slice_ref(value.strip_prefix(b" ").unwrap_or(value));
        match name {
            b"event" => event.name = value,
            b"id" => event.id = value,
            b"data" if event.data.is_empty() => event.data = value,
            b"data" => event.data = [&event.data[..], &value].join(&b'\n').into(),
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str, id: &'static str, data: &'static str) -> Event {
        let [name, id, data] = [name, id, data].map(|text: &'static str| Bytes::from(text));
        Event { name, id, data }
    }

    #[test]
    fn events_are_parsed_from_chunks_of_any_size() {
        let text = "event: order\nid: 7\ndata: {\"a\":1}\n\n: ping\n\ndata:x\r\ndata: y\r\n\r\n";
        for size in 1..=text.len() {
            let (mut buffer, mut found) = (Buffer::default(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                buffer.0.extend_from_slice(chunk);
                found.extend(std::iter::from_fn(|| buffer.event()));
            }
            assert_eq!(
                found,
                [event("order", "7", "{\"a\":1}"), event("", "", "x\ny")]
            );
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_incomplete() {
        let mut buffer = Buffer("data: 1\n".as_bytes().into());
        assert_eq!(buffer.event(), None);
    }
}
