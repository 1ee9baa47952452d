//! The skeleton of a JSON text: its keys and punctuation without its values.
//!
//! Dictionaries are made of skeletons, so that they contain no data of a person: they stay in the
//! file after the records that they were made of are erased.

/// A part of a skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The name of an object's field.
    Key(Box<str>),
    /// Punctuation, or the stand-in for a value.
    Text(&'static str),
}

/// Maximum number of parts; the rest of a longer text is left out.
const PARTS_MAX: usize = 400;
/// Maximum length of a key. Longer ones are data.
const KEY_MAX: usize = 40;

/// Returns the skeleton of a JSON text; `None` if the text is no JSON object or array.
///
/// It expects compact JSON, as serializers write it, and does not validate: the result of any other
/// text is a skeleton that fits nothing.
pub(crate) fn of(text: &[u8]) -> Option<Vec<Part>> {
    if !matches!(text.first(), Some(b'{' | b'[')) {
        return None;
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((byte, after)) = rest.split_first()
        && parts.len() < PARTS_MAX
    {
        rest = after;
        let part = match byte {
            b'{' => "{",
            b'}' => "}",
            b'[' => "[",
            b']' => "]",
            b',' => ",",
            b'"' => {
                let end = end_of_string(rest)?;
                let (string, after) = rest.split_at(end);
                rest = after.strip_prefix(b"\"")?;
                if let Some(after) = rest.strip_prefix(b":") {
                    rest = after;
                    parts.push(key(string));
                    continue;
                }
                "\"\""
            }
            b't' | b'f' | b'n' => {
                let word = ["true", "false", "null"].into_iter();
                let mut word = word.filter(|it| rest.starts_with(&it.as_bytes()[1..]));
                let word = word.find(|it| it.as_bytes()[0] == *byte)?;
                rest = &rest[word.len() - 1..];
                word
            }
            b'0'..=b'9' | b'-' => {
                let number = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
                let end = rest.iter().position(|byte| !number(byte));
                rest = &rest[end.unwrap_or(rest.len())..];
                "0"
            }
            _ => return None,
        };
        parts.push(Part::Text(part));
    }
    Some(parts)
}

/// Returns the length of a string up to its closing quote.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

/// Returns a key that is a name; a stand-in for other keys, which are data.
fn key(string: &[u8]) -> Part {
    let is_name = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.');
    match std::str::from_utf8(string) {
        Ok(name) if name.len() <= KEY_MAX && string.iter().all(is_name) => Part::Key(name.into()),
        _ => Part::Text("\"\":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        let parts = of(json.as_bytes())?;
        let parts = parts.iter().map(|part| match part {
            Part::Key(key) => format!("\"{key}\":"),
            Part::Text(text) => (*text).to_owned(),
        });
        Some(parts.collect())
    }

    #[test]
    fn values_and_keys_that_are_data_are_left_out() {
        let json =
            r#"{"name":"Ada \"L\"","at":-1.5e3,"ok":true,"ada@example.com":[null,"x"],"n1":{}}"#;
        let skeleton = r#"{"name":"","at":0,"ok":true,"":[null,""],"":{}}"#;
        assert_eq!(text(json).as_deref(), Some(skeleton));
    }

    #[test]
    fn other_bytes_have_no_skeleton() {
        for other in ["", "\"text\"", "7", "{\"open", "{\"a\":tru", "{x}"] {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
