//! The port for bodies that are larger than a message may be: the claim check.
//!
//! A message with a large body carries a [`BodyRef`] instead. The publisher puts the body before it
//! commits the message, and each subscriber fetches it before it decodes the message.
//! PostgreSQL and a directory of files implement the port.
//!
//! # Contract
//!
//! - **Place.** A body is identified by its day and its digest. Equal bodies of one day are one.
//!   The adapter does not compute the digest: whoever fetches a body verifies it.
//! - **Durability.** A body is durable when [`put`](Bodies::put) has returned. Until then it is
//!   absent or complete, also after a crash.
//! - **Size.** A body has at most [`STORED_MAX`] bytes.
//! - **Visibility.** A call that starts after another has returned sees its effect, in all
//!   processes.
//! - **Concurrency.** All methods may be called at the same time, by several processes.
//! - **Cancellation.** The caller may drop any returned future; its effect may or may not take
//!   place.
//! - **Errors.** Every method fails with [`UNAVAILABLE`], class [`Retry`](crate::Class::Retry),
//!   while the store of bodies does not answer or cannot write. [`get`](Bodies::get) returns `None`
//!   only if it knows that the body is absent.
//!
//! The macro `bodies_conformance!` (feature `conformance`) tests this contract.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Result, Timestamp};

/// The largest body that a store of bodies takes: 32 MiB.
///
/// A handler has its whole message in memory, so this times its concurrency is what a subscription
/// may need. Keep larger data elsewhere, and send its address.
pub const STORED_MAX: usize = 32 << 20;

/// The code of a store of bodies that does not answer.
pub const UNAVAILABLE: &str = "bodies_unavailable";

/// The longest reference: longer bodies are not examined.
const REFERENCE_MAX: usize = 256;
/// The field of a reference.
const FIELD: &str = "wb.body";
const MICROS_OF_DAY: i64 = 24 * 3600 * 1_000_000;

/// Returns the day of a time, counted from the epoch. The bodies of a day expire together.
///
/// ```
/// use wingbeat_core::{Timestamp, bodies};
///
/// assert_eq!(bodies::day(Timestamp::from_millis(3 * 24 * 3600 * 1000 - 1)), 2);
/// ```
#[must_use]
pub fn day(at: Timestamp) -> u32 {
    let days = at.as_micros().div_euclid(MICROS_OF_DAY).max(0);
    u32::try_from(days).unwrap_or(u32::MAX)
}

/// A reference to a stored body: the body of a message whose content is stored elsewhere.
///
/// ```
/// use wingbeat_core::bodies::BodyRef;
///
/// let stored = BodyRef { day: 20_000, size: 5_000_000, digest: [7; 32] };
/// let body = stored.body();
/// assert!(body.starts_with(br#"{"wb.body":{"day":20000,"size":5000000,"sha256":"0707"#));
/// assert_eq!(BodyRef::of(&body), Some(stored));
/// assert_eq!(BodyRef::of(br#"{"wb.body":7}"#), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyRef {
    /// The day from which the body is kept; see [`day`].
    pub day: u32,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the body.
    pub digest: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "wb.body")]
    stored: Stored,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    day: u32,
    size: u64,
    sha256: String,
}

impl BodyRef {
    /// Returns the reference that a message carries, or `None` if its body is anything else.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        // The first bytes rule out most bodies without parsing them.
        let start = body.trim_ascii_start().strip_prefix(b"{")?;
        let start = start.trim_ascii_start().strip_prefix(b"\"")?;
        if body.len() > REFERENCE_MAX || !start.starts_with(FIELD.as_bytes()) {
            return None;
        }
        let Wire { stored } = serde_json::from_slice(body).ok()?;
        Some(Self {
            day: stored.day,
            size: stored.size,
            digest: from_hex(&stored.sha256)?,
        })
    }

    /// Returns the body of a message that refers to the stored body, as JSON.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let stored = Stored {
            day: self.day,
            size: self.size,
            sha256: self.hex(),
        };
        let json = serde_json::to_vec(&Wire { stored });
        json.expect("numbers and a text always encode").into()
    }

    /// Returns the reference as a URI, for the attribute `dataref` of CloudEvents.
    ///
    /// ```
    /// # use wingbeat_core::bodies::BodyRef;
    /// let stored = BodyRef { day: 20_000, size: 9, digest: [0xab; 32] };
    /// let uri = format!("wingbeat-body:20000/{}?size=9", "ab".repeat(32));
    /// assert_eq!(stored.uri(), uri);
    /// ```
    #[must_use]
    pub fn uri(&self) -> String {
        let Self { day, size, .. } = self;
        format!("wingbeat-body:{day}/{}?size={size}", self.hex())
    }

    /// Returns the digest in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.digest {
            write!(text, "{byte:02x}").expect("a string takes any text");
        }
        text
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// Stored bodies; see the [module](self) for the contract of all methods.
pub trait Bodies: Send + Sync + 'static {
    /// Creates the place for bodies unless it exists. Called before anything else; it may be called
    /// by several processes at once.
    ///
    /// # Errors
    ///
    /// [`UNAVAILABLE`]; codes of the adapter if it may not create the place or use it.
    fn prepare(&self) -> BoxFuture<'_, Result<()>>;

    /// Stores a body durably. A body that is there already stays as it is.
    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Returns a body; `None` if it is absent. Reads at most one byte more than the reference says,
    /// so that the caller notices a body that is longer.
    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// Deletes at most `limit` bodies of days before `day`, the oldest first. Returns how many;
    /// zero if there are none left.
    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: BodyRef = BodyRef {
        day: 20_651,
        size: 3 << 20,
        digest: [0x5a; 32],
    };

    #[test]
    fn other_bodies_are_no_references() {
        let hex = STORED.hex();
        for other in [
            String::new(),
            "{}".into(),
            r#"{"wb.body":{}}"#.into(),
            r#"{"wb.body":{"day":1,"size":2,"sha256":"00"}}"#.into(),
            format!(r#"{{"wb.body":{{"day":1,"size":2,"sha256":"{hex}"}},"more":1}}"#),
            format!(r#"{{"wb.body":{{"day":1,"size":2,"sha256":"{hex}","more":1}}}}"#),
            format!(r#"{{"wb.body":{{"day":-1,"size":2,"sha256":"{hex}"}}}}"#),
            format!(
                r#"{{"wb.body":{{"day":1,"size":2,"sha256":"+{}"}}}}"#,
                &hex[1..]
            ),
            format!(r#"[{{"wb.body":{{"day":1,"size":2,"sha256":"{hex}"}}}}]"#),
        ] {
            assert_eq!(BodyRef::of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn programs_in_other_languages_may_write_spaces() {
        let json = format!(
            "{{ \"wb.body\": {{\"day\": 20651, \"size\": 3145728, \"sha256\": \"{}\"}}}}",
            STORED.hex()
        );
        assert_eq!(BodyRef::of(json.as_bytes()), Some(STORED));
    }

    #[test]
    fn times_before_the_epoch_are_its_first_day() {
        assert_eq!(day(Timestamp::from_micros(-1)), 0);
        assert_eq!(day(Timestamp::from_micros(i64::MAX)), 106_751_991);
    }
}
