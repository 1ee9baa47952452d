//! Compresses the bodies of rows.
//!
//! Most bodies are small JSON texts whose keys take more room than their values. So each table has
//! a dictionary with the keys of its first bodies, and bodies are compressed (LZ4) against it,
//! their ids, digests and times first ([`dense`](crate::dense)). Rows
//! refer to dictionaries by number; a row without a number has the body as it is, like those that
//! an earlier release wrote.
//!
//! A dictionary never changes, and contains no values; see [`skeleton`](crate::skeleton).

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use rusqlite::{Connection, Row as SqlRow, ffi, params};
use wingbeat_core::HashMap;

use crate::dense;
use crate::skeleton::{self, Part};

/// The tables whose bodies have a dictionary per number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Record = 1,
    History = 2,
    View = 3,
    /// Per service.
    Journal = 4,
}

/// Entries of the journal are bytes, in which ids are numbers already.
const JOURNAL: u8 = Kind::Journal as u8;

/// Number of bodies of which a dictionary is made.
const SAMPLES: usize = 64;
/// Number of samples that must have a key. A key of fewer bodies may be data.
const KEY_SAMPLES_MIN: usize = 4;
/// Maximum size of a dictionary.
const DICTIONARY_BYTES_MAX: usize = 4096;
/// Bodies of other sizes are stored as they are: small ones do not shrink, and large ones would
/// delay the writer.
const PACKED_BYTES: std::ops::RangeInclusive<usize> = 24..=65_535;

/// All dictionaries in the file. New ones get their number in memory; the next commit writes them.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_name: HashMap<(u8, u32), State>,
    /// The dictionaries by number, which starts at 1.
    all: Vec<Dictionary>,
    /// The number of dictionaries that are in the file.
    written: usize,
}

#[derive(Clone, Debug)]
struct Dictionary {
    name: (u8, u32),
    bytes: Arc<[u8]>,
}

#[derive(Debug)]
enum State {
    Sampling(Vec<Vec<Part>>),
    Ready(u32),
}

/// A compressed body, and the number of its dictionary.
pub(crate) struct Packed {
    pub(crate) dictionary: u32,
    pub(crate) bytes: Vec<u8>,
}

/// The columns `body` and `packed` of a row.
pub(crate) trait Stored {
    /// Returns the bytes to store for a body.
    fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8];
    /// Returns the number of the dictionary.
    fn dictionary(&self) -> Option<u32>;
}

impl Stored for Option<Packed> {
    fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        self.as_ref().map_or(body, |packed| &packed.bytes)
    }

    fn dictionary(&self) -> Option<u32> {
        self.as_ref().map(|packed| packed.dictionary)
    }
}

impl Dictionaries {
    /// Reads all dictionaries from the file.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut inner = Inner::default();
        let mut statement =
            connection.prepare("SELECT kind, name, body FROM wb_dictionary ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(2)?;
            inner.add((row.get(0)?, row.get(1)?), body);
        }
        inner.written = inner.all.len();
        Ok(Self(RwLock::new(inner)))
    }

    /// Compresses a body; `None` to store it as it is. Only the writer calls this.
    pub(crate) fn pack(&self, kind: Kind, name: u32, body: &[u8]) -> Option<Packed> {
        self.pack_with(kind, name, body, body)
    }

    /// Compresses bytes that contain a body, which is the sample for the dictionary.
    pub(crate) fn pack_with(
        &self,
        kind: Kind,
        name: u32,
        body: &[u8],
        bytes: &[u8],
    ) -> Option<Packed> {
        self.compress(kind, name, bytes, |samples| {
            let sample = skeleton::of(body)?;
            samples.push(sample);
            (samples.len() == SAMPLES).then(|| words(samples))
        })
    }

    /// Compresses a body that is no JSON, with a dictionary that `words` makes after some bodies.
    pub(crate) fn pack_with_words(
        &self,
        kind: Kind,
        name: u32,
        body: &[u8],
        words: impl FnOnce() -> Vec<u8>,
    ) -> Option<Packed> {
        self.compress(kind, name, body, |samples| {
            samples.push(Vec::new());
            let words = (samples.len() == SAMPLES).then(words)?;
            let most = words.len().min(DICTIONARY_BYTES_MAX);
            Some(words[..most].to_vec())
        })
    }

    fn compress(
        &self,
        kind: Kind,
        name: u32,
        bytes: &[u8],
        sample: impl FnOnce(&mut Vec<Vec<Part>>) -> Option<Vec<u8>>,
    ) -> Option<Packed> {
        if !PACKED_BYTES.contains(&bytes.len()) {
            return None;
        }
        let name = (kind as u8, name);
        let Some((dictionary, words)) = self.read_lock().ready(name) else {
            let mut inner = self.write_lock();
            let state = inner.by_name.entry(name);
            let state = state.or_insert_with(|| State::Sampling(Vec::new()));
            if let State::Sampling(samples) = state
                && let Some(words) = sample(samples)
            {
                inner.add(name, words);
            }
            return None;
        };
        let dense = match name.0 {
            JOURNAL => Cow::Borrowed(bytes),
            _ => Cow::Owned(dense::encode(bytes)),
        };
        let packed = lz4_flex::block::compress_with_dict(&dense, &words);
        let length = u16::try_from(dense.len()).ok()?.to_le_bytes();
        (packed.len() + LENGTH_BYTES < bytes.len()).then(|| Packed {
            dictionary,
            bytes: [&length, &packed[..]].concat(),
        })
    }

    /// Decompresses a body that [`Self::pack`] compressed.
    fn unpack(&self, number: u32, packed: &[u8]) -> Option<Vec<u8>> {
        let Dictionary { name, bytes: words } = self.read_lock().get(number)?;
        let (length, packed) = packed.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let unpacked = lz4_flex::block::decompress_with_dict(packed, length, &words).ok()?;
        if unpacked.len() != length {
            return None;
        }
        match name.0 {
            JOURNAL => Some(unpacked),
            _ => dense::decode(&unpacked),
        }
    }

    /// Reads a body from the column `at` of a row, and the number of its dictionary from the column
    /// after it.
    pub(crate) fn body(&self, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Bytes> {
        Ok(self.bytes(row, at)?.0.into())
    }

    /// Like [`Self::body`]; also returns whether the bytes were compressed.
    pub(crate) fn bytes(&self, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<(Vec<u8>, bool)> {
        let body: Vec<u8> = row.get(at)?;
        match row.get::<_, Option<u32>>(at + 1)? {
            None => Ok((body, false)),
            Some(number) => {
                let unpacked = self.unpack(number, &body);
                Ok((unpacked.ok_or_else(|| damaged(number))?, true))
            }
        }
    }

    /// Writes the new dictionaries and returns the number of dictionaries. Call
    /// [`Self::set_written`] with it after the commit.
    pub(crate) fn write_new(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let inner = self.read_lock();
        for (at, dictionary) in inner.all.iter().enumerate().skip(inner.written) {
            let (kind, name) = dictionary.name;
            let number = i64::try_from(at + 1).unwrap_or(i64::MAX);
            connection
                .prepare_cached(
                    "INSERT INTO wb_dictionary(id, kind, name, body) VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![number, kind, name, &dictionary.bytes[..]])?;
        }
        Ok(inner.all.len())
    }

    /// Notes that the first `count` dictionaries are durable.
    pub(crate) fn set_written(&self, count: usize) {
        if self.read_lock().written != count {
            self.write_lock().written = count;
        }
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the length before a compressed body.
const LENGTH_BYTES: usize = 2;

impl Inner {
    fn add(&mut self, name: (u8, u32), bytes: Vec<u8>) {
        let bytes = bytes.into();
        self.all.push(Dictionary { name, bytes });
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.by_name.insert(name, State::Ready(number));
    }

    fn ready(&self, name: (u8, u32)) -> Option<(u32, Arc<[u8]>)> {
        match self.by_name.get(&name)? {
            State::Ready(number) => Some((*number, self.get(*number)?.bytes)),
            State::Sampling(_) => None,
        }
    }

    fn get(&self, number: u32) -> Option<Dictionary> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.all.get(at).cloned()
    }
}

/// Makes a dictionary of samples: their distinct forms, without keys that few of them have.
fn words(samples: &[Vec<Part>]) -> Vec<u8> {
    let mut counts: HashMap<&str, usize> = HashMap::default();
    for sample in samples {
        let keys = sample.iter().filter_map(|part| match part {
            Part::Key(key) => Some(&**key),
            Part::Text(_) => None,
        });
        let mut keys: Vec<&str> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
    }
    let mut forms: Vec<String> = Vec::new();
    for sample in samples {
        let parts = sample.iter().map(|part| match part {
            Part::Key(key) if counts[&**key] >= KEY_SAMPLES_MIN => format!("\"{key}\":"),
            Part::Key(_) => "\"\":".to_owned(),
            Part::Text(text) => (*text).to_owned(),
        });
        let form: String = parts.collect();
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    let mut words = Vec::new();
    for form in forms {
        let room = DICTIONARY_BYTES_MAX - words.len();
        words.extend_from_slice(&form.as_bytes()[..form.len().min(room)]);
    }
    words
}

/// The error of a row whose body cannot be decompressed: the file is damaged.
fn damaged(dictionary: u32) -> rusqlite::Error {
    let error = ffi::Error::new(ffi::SQLITE_CORRUPT);
    let text = format!("a body cannot be decompressed with dictionary {dictionary}");
    rusqlite::Error::SqliteFailure(error, Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(number: usize) -> Vec<u8> {
        format!(
            r#"{{"user_id":"u{number}","price":{{"amount_minor":{number},"currency":"EUR"}},"{number}@example.com":"Ada {number}"}}"#
        )
        .into_bytes()
    }

    #[test]
    fn bodies_are_compressed_once_there_is_a_dictionary_and_read_back() {
        let dictionaries = Dictionaries::default();
        let pack = |number| dictionaries.pack(Kind::Record, 7, &body(number));
        for number in 0..SAMPLES {
            assert!(pack(number).is_none(), "{number}");
        }
        let packed = pack(100).expect("it is compressed");
        assert!(
            packed.bytes.len() < body(100).len() * 3 / 4,
            "{}",
            packed.bytes.len()
        );
        let unpacked = dictionaries.unpack(packed.dictionary, &packed.bytes);
        assert_eq!(unpacked, Some(body(100)));
        assert!(dictionaries.pack(Kind::History, 7, &body(1)).is_none());
    }

    #[test]
    fn a_dictionary_contains_no_values() {
        let dictionaries = Dictionaries::default();
        for number in 0..SAMPLES {
            let _ = dictionaries.pack(Kind::View, 1, &body(number));
        }
        let words = dictionaries.read_lock().get(1).unwrap().bytes;
        let words = String::from_utf8(words.to_vec()).unwrap();
        assert!(words.contains("\"amount_minor\":"), "{words}");
        for value in ["Ada", "EUR", "example", "u1"] {
            assert!(!words.contains(value), "{value} in {words}");
        }
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let dictionaries = Dictionaries::default();
        for number in 0..SAMPLES {
            let _ = dictionaries.pack(Kind::Record, 7, &body(number));
        }
        let packed = dictionaries.pack(Kind::Record, 7, &body(3)).unwrap();
        for end in 0..packed.bytes.len() {
            assert_eq!(dictionaries.unpack(1, &packed.bytes[..end]), None);
        }
        assert_eq!(dictionaries.unpack(2, &packed.bytes), None);
    }
}
