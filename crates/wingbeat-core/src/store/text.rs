//! Texts by which a store finds records and rows: ids, keys, and values of indexed columns.

use crate::{Error, Result};

/// The longest text by which a store finds a record or a row, in bytes. An entry of an index of
/// PostgreSQL has at most 2,704 bytes, and contains up to two of these texts.
pub const TEXT_MAX: usize = 1 << 10;

/// Returns whether a text contains U+0000, which PostgreSQL cannot store. No store has a record or
/// row with such a text.
#[must_use]
pub fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// Checks that every store can keep this text as an id, a key or a value of an indexed column.
/// `what` names it in the error. The error does not contain the text.
///
/// # Errors
///
/// `unstorable` if the text contains U+0000 or is longer than [`TEXT_MAX`].
pub fn storable(what: &str, text: &str) -> Result<()> {
    let why = if has_nul(text) {
        "contains the character U+0000".to_owned()
    } else if text.len() > TEXT_MAX {
        format!("is longer than {TEXT_MAX} bytes")
    } else {
        return Ok(());
    };
    Err(unstorable(format!("a text of `{what}` {why}")))
}

/// Creates the error of a text that the store cannot keep or compare.
pub fn unstorable(why: impl Into<String>) -> Error {
    Error::reject("unstorable", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_storable_up_to_the_limit_and_without_zero() {
        assert!(storable("id", &"a".repeat(TEXT_MAX)).is_ok());
        let code = |text: &str| storable("id", text).map_err(|why| why.code());
        assert_eq!(code(&"a".repeat(TEXT_MAX + 1)), Err("unstorable"));
        assert_eq!(code("a\0"), Err("unstorable"));
    }
}
