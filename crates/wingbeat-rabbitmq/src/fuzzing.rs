//! The decoder as fuzzers and the corpus run it: from the bytes of a content header to an envelope
//! or a dead letter.

use lapin::message::Delivery;
use lapin::protocol::basic::parse_properties;
use wingbeat_core::text::is_forbidden;
use wingbeat_core::transport::Undecodable;
use wingbeat_core::{Envelope, Timestamp};

use crate::Config;
use crate::guard::checked;
use crate::topology::Names;
use crate::wire;

/// Sends properties and a body through the guard, the parser of the AMQP client and the decoder.
///
/// # Panics
///
/// If the client cannot parse what the guard lets through, or if an envelope or a dead letter
/// breaks its limits: that is a bug.
pub fn decode(properties: &[u8], body: &[u8]) -> Result<Envelope, Box<Undecodable>> {
    let (header, body) = checked(properties, body);
    let parsed = parse_properties(&header[..]);
    let (rest, properties) = parsed.expect("the client parses the properties");
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    let names = Names::new(&Config::new(""));
    let (exchange, key) = (names.events.clone(), "meter.read.v1");
    let mut delivery = Delivery::mock(1, exchange.into(), key.into(), false, body);
    delivery.properties = properties;
    let decoded = wire::envelope(&delivery, &names, Timestamp::default());
    match &decoded {
        Ok(envelope) => assert_eq!(envelope.check(), Ok(()), "it is within its limits"),
        Err(it) => {
            let headers = it.broken.headers.iter();
            let texts = headers.flat_map(|(name, value)| [name, value]);
            for text in texts.chain([&it.broken.why, &it.kind]) {
                assert!(text.len() <= 4 << 10, "a text of {} bytes", text.len());
                assert!(!text.chars().any(is_forbidden), "{text:?} is printable");
            }
        }
    }
    decoded.map_err(Box::new)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Returns the files of the corpus, by name.
    fn corpus() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let files = std::fs::read_dir(folder).expect("the corpus is a folder");
        let file = |file: std::io::Result<std::fs::DirEntry>| {
            let file = file.expect("a file");
            let name = file.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(file.path()).expect("it is readable"))
        };
        let mut files: Vec<_> = files.map(file).collect();
        files.sort();
        files
    }

    #[test]
    fn every_file_of_the_corpus_is_an_envelope_or_a_dead_letter() {
        let corpus = corpus();
        let valid: Vec<&str> = corpus
            .iter()
            .filter(|(_, properties)| decode(properties, b"{}").is_ok())
            .map(|(name, _)| name.as_str())
            .collect();
        let expected = [
            "every-attribute",
            "every-type",
            "forged-death",
            "long-header",
            "nested-16",
            "time-as-timestamp",
            "valid",
        ];
        assert_eq!(valid, expected);
        assert!(corpus.len() > 20, "{} files", corpus.len());
    }

    /// A short run of what `cargo fuzz` does for hours.
    #[test]
    fn mutations_of_the_corpus_are_envelopes_or_dead_letters() {
        const MUTATIONS: usize = 4_000;
        let corpus = corpus();
        let mut random = fastrand::Rng::with_seed(20_261_129);
        for _ in 0..MUTATIONS {
            let (_, mut properties) = corpus[random.usize(..corpus.len())].clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..=properties.len());
                match random.u8(..4) {
                    0 => properties.insert(at, random.u8(..)),
                    1 => properties.truncate(at),
                    2 if at < properties.len() => properties[at] ^= 1 << random.u8(..8),
                    _ if at < properties.len() => properties[at] = random.u8(..),
                    _ => {}
                }
            }
            let _ = decode(&properties, b"{}");
        }
    }
}
