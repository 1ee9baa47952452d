//! The properties of a delivery, through guard, parser and decoder.
//!
//! ```text
//! cd crates/wingbeat-rabbitmq
//! cargo +nightly fuzz run properties fuzz/corpus/properties tests/corpus
//! ```
//!
//! The suite replays `tests/corpus`. Add the input of every crash to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|properties: &[u8]| {
    let _ = wingbeat_rabbitmq::fuzzing::decode(properties, b"{}");
});
