//! Cursors of paged lists.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wingbeat_core::store::Position;

use super::problem::Problem;

/// The first byte of an encoded cursor. A change of the format changes it.
const VERSION: u8 = 1;
/// Bytes of the checksum.
const CHECKSUM: usize = 4;

/// The position of a page in a list, as clients carry it from one page to the next.
///
/// The text is opaque, versioned and URL-safe. A checksum refuses text that was changed or cut off,
/// and cursors of lists with another name. It is no signature: a client can read and forge a
/// cursor, so the `Select` of the next page decides which rows the client may see.
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use serde::{Deserialize, Serialize};
/// use wingbeat::http::{Cursor, Problem, Query, ok};
/// use wingbeat::{JsonSchema, Reads, Select, schemars};
/// # use wingbeat::View;
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # struct Book { title: String }
/// # impl View for Book { const NAME: &'static str = "books"; }
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Listing {
///     /// The `next_cursor` of the page before.
///     cursor: Option<Cursor>,
/// }
///
/// #[derive(Serialize, JsonSchema)]
/// struct Page {
///     items: Vec<Book>,
///     /// The cursor of the next page; `null` on the last page.
///     next_cursor: Option<Cursor>,
/// }
///
/// async fn list(
///     Query(listing): Query<Listing>,
///     reads: Reads,
/// ) -> Result<Response, Problem> {
///     let after = listing.cursor.map(|cursor| cursor.position("books")).transpose()?;
///     let page = reads.rows::<Book>(Select::All, after, 20).await?;
///     Ok(ok(&Page {
///         items: page.rows.into_iter().map(|(_key, book)| book).collect(),
///         next_cursor: page.next.map(|position| Cursor::new("books", &position)),
///     })
///     .into_response())
/// }
/// # drop(wingbeat::http::Routes::<()>::new().route("/books", wingbeat::http::get(list)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Encodes a position in the list with this name.
    #[must_use]
    pub fn new(list: &str, position: &Position) -> Self {
        let Position { value, key } = position;
        let mut bytes = vec![VERSION];
        bytes.extend(checksum(list, value, key));
        bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(value.as_bytes());
        bytes.extend(key.as_bytes());
        Self(hex::encode(bytes))
    }

    /// Returns the position in the list with this name.
    ///
    /// # Errors
    ///
    /// 400 `bad_cursor` if the text is not a cursor of this list.
    pub fn position(&self, list: &str) -> Result<Position, Problem> {
        self.decode(list).ok_or_else(|| {
            let detail = "the cursor does not belong to this list: start again without a cursor";
            Problem::new(400, "bad_cursor", detail)
        })
    }

    fn decode(&self, list: &str) -> Option<Position> {
        let bytes = hex::decode(&self.0).ok()?;
        let bytes = bytes.strip_prefix(&[VERSION])?;
        let (sum, bytes) = bytes.split_first_chunk::<CHECKSUM>()?;
        let (length, bytes) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, key) = bytes.split_at_checked(length)?;
        let (value, key) = (str::from_utf8(value).ok()?, str::from_utf8(key).ok()?);
        (*sum == checksum(list, value, key)).then(|| Position {
            value: value.into(),
            key: key.into(),
        })
    }
}

fn checksum(list: &str, value: &str, key: &str) -> [u8; CHECKSUM] {
    let digest = Sha256::new()
        .chain_update([VERSION])
        .chain_update(list)
        .chain_update([0xff]) // No UTF-8 text contains this byte.
        .chain_update(value)
        .chain_update([0xff])
        .chain_update(key)
        .finalize();
    std::array::from_fn(|at| digest[at])
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Cursor {
    /// Takes over text from a client; [`position`](Self::position) checks it.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl JsonSchema for Cursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(value: &str, key: &str) -> Position {
        Position {
            value: value.into(),
            key: key.into(),
        }
    }

    #[test]
    fn a_cursor_returns_its_position() {
        for (value, key) in [("", "k"), ("a|b", "\u{10ffff}"), ("", ""), ("4.5 €", "k")] {
            let cursor = Cursor::new("books", &position(value, key));
            assert!(
                cursor.0.bytes().all(|it| it.is_ascii_alphanumeric()),
                "{cursor}"
            );
            assert_eq!(cursor.position("books").ok(), Some(position(value, key)));
        }
    }

    #[test]
    fn text_that_is_no_cursor_of_the_list_is_refused_with_its_code() {
        let text = Cursor::new("books", &position("shelf", "key")).0;
        let other_version = text.replacen("01", "02", 1);
        let changed = text.replacen(&text[text.len() - 2..], "00", 1);
        let cut: Vec<_> = (0..text.len()).map(|end| text[..end].to_owned()).collect();
        let garbage = ["!", "zz", "é", "00", "01ffffffffffffffff"].map(str::to_owned);
        for text in cut
            .into_iter()
            .chain(garbage)
            .chain([other_version, changed])
        {
            let refused = Cursor::from(text.clone()).position("books");
            let problem = refused.expect_err(&text);
            assert_eq!((problem.status, &*problem.code), (400, "bad_cursor"));
        }
        assert!(
            Cursor(text.clone()).position("authors").is_err(),
            "another list"
        );
        // The same bytes, cut into value and key at another place.
        let moved = Cursor::new("books", &position("shelfk", "ey"));
        assert_ne!(moved.0, text);
    }
}
