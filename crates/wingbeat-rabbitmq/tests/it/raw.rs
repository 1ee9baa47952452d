//! A publisher that sends any bytes as a content header, which no client library does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;
/// The default of RabbitMQ.
const FRAME_MAX: u32 = 128 << 10;

/// A connection with one channel in confirm mode.
pub(crate) struct Raw {
    stream: TcpStream,
}

/// Encodes a text with its length in one byte.
pub(crate) fn short(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = vec![u8::try_from(text.len()).expect("at most 255 bytes")];
    bytes.extend_from_slice(text);
    bytes
}

/// Encodes bytes with their length in four bytes.
pub(crate) fn long(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = u32::try_from(content.len())
        .expect("a frame")
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(content);
    bytes
}

/// Encodes a value of a header.
pub(crate) fn value(kind: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(content.as_ref());
    bytes
}

/// Encodes a text as the value of a header.
pub(crate) fn text(content: impl AsRef<[u8]>) -> Vec<u8> {
    value(b'S', long(content))
}

/// Encodes an array that is nested this deep.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    // From the outside: an array of `depth - 1` levels has five bytes for each.
    let mut bytes = Vec::with_capacity(depth * 5);
    for level in (0..depth).rev() {
        bytes.push(b'A');
        let length = u32::try_from(level * 5).expect("a frame");
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// A message as bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The routing key.
    pub(crate) key: Vec<u8>,
    /// Names and encoded values.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Other properties: their positions from 0 to 13, and their encoded values.
    pub(crate) properties: Vec<(usize, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Adds a header.
    pub(crate) fn with(mut self, name: impl AsRef<[u8]>, value: Vec<u8>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value));
        self
    }

    fn content_header(&self) -> Vec<u8> {
        let table: Vec<u8> = self
            .headers
            .iter()
            .flat_map(|(name, value)| [short(name), value.clone()].concat())
            .collect();
        let mut properties = self.properties.clone();
        properties.push((2, long(table)));
        properties.push((3, vec![2])); // persistent
        properties.sort_by_key(|(at, _)| *at);
        let flags = properties
            .iter()
            .fold(0_u16, |flags, (at, _)| flags | 1 << (15 - at));
        let mut payload = vec![0, 60, 0, 0];
        payload.extend_from_slice(&(self.body.len() as u64).to_be_bytes());
        payload.extend_from_slice(&flags.to_be_bytes());
        payload.extend(properties.into_iter().flat_map(|(_, value)| value));
        payload
    }

    /// Returns the size of the frame of the content header.
    pub(crate) fn header_frame(&self) -> usize {
        self.content_header().len() + 8
    }
}

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut raw = Self { stream };
        raw.stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        raw.expect(10, 10);
        let login = [
            long([]),
            short("PLAIN"),
            long(b"\0guest\0guest"),
            short("en_US"),
        ]
        .concat();
        raw.method(0, (10, 11), &login);
        raw.expect(10, 30);
        let tuned = [&[0, 1][..], &FRAME_MAX.to_be_bytes(), &[0, 0]].concat();
        raw.method(0, (10, 31), &tuned);
        raw.method(0, (10, 40), &[short("/"), short(""), vec![0]].concat());
        raw.expect(10, 41);
        raw.method(1, (20, 10), &short(""));
        raw.expect(20, 11);
        raw.method(1, (85, 10), &[0]);
        raw.expect(85, 11);
        raw
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&channel.to_be_bytes());
        bytes.extend(long(payload));
        bytes.push(END);
        self.stream.write_all(&bytes).unwrap();
    }

    fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(METHOD, channel, &[&ids, arguments].concat());
    }

    /// Reads the class and the method of the next method frame.
    fn read(&mut self) -> (u16, u16) {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head).unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap()) as usize;
            let mut payload = vec![0; size + 1];
            self.stream.read_exact(&mut payload).unwrap();
            if head[0] == METHOD {
                let number = |at| u16::from_be_bytes([payload[at], payload[at + 1]]);
                return (number(0), number(2));
            }
        }
    }

    fn expect(&mut self, class: u16, method: u16) {
        assert_eq!(self.read(), (class, method));
    }

    /// Publishes a message. Returns whether the broker has accepted it; if not, the connection
    /// cannot be used any more.
    pub(crate) fn publish(&mut self, exchange: &str, message: &Message) -> bool {
        let arguments = [vec![0, 0], short(exchange), short(&message.key), vec![0]].concat();
        self.method(1, (60, 40), &arguments);
        self.frame(HEADER, 1, &message.content_header());
        for part in message.body.chunks(FRAME_MAX as usize - 8) {
            self.frame(BODY, 1, part);
        }
        match self.read() {
            (60, 80) => true,
            (60, 120 | 50) | (20, 40) | (10, 50) => false,
            other => panic!("an unexpected method: {other:?}"),
        }
    }
}
