//! The encoding of a view row's index columns: number, length and text of each, in sequence.

/// Encodes numbered columns.
pub(crate) fn encode(columns: &[(u32, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (column, value) in columns {
        bytes.extend_from_slice(&column.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes
}

/// Encodes numbered columns with their length, so that other bytes can follow.
pub(crate) fn encode_first(columns: &[(u32, String)]) -> Vec<u8> {
    let columns = encode(columns);
    let length = u32::try_from(columns.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &columns].concat()
}

/// Decodes columns at the start of bytes, and returns the number of bytes that they took.
pub(crate) fn decode_first(bytes: &[u8]) -> (Vec<(u32, String)>, usize) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return (Vec::new(), bytes.len());
    };
    let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
    (decode(&rest[..length]), length + 4)
}

/// Decodes the output of [`encode`]; ignores an incomplete column at the end.
pub(crate) fn decode(mut bytes: &[u8]) -> Vec<(u32, String)> {
    let mut columns = Vec::new();
    while let Some((column, rest)) = bytes.split_first_chunk::<4>()
        && let Some((length, rest)) = rest.split_first_chunk::<4>()
        && let Some((value, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        let value = String::from_utf8_lossy(value).into_owned();
        columns.push((u32::from_le_bytes(*column), value));
        bytes = rest;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_inverts_encoding() {
        let columns = vec![(1, String::new()), (7, "\u{e9}clair".to_owned())];
        assert_eq!(decode(&encode(&columns)), columns);
    }

    #[test]
    fn columns_before_other_bytes_are_decoded() {
        let columns = vec![(1, String::new()), (7, "b".to_owned())];
        let bytes = [&encode_first(&columns)[..], b"body"].concat();
        let (decoded, length) = decode_first(&bytes);
        assert_eq!((decoded, &bytes[length..]), (columns, &b"body"[..]));
        for end in 0..length {
            assert!(decode_first(&bytes[..end]).1 <= end);
        }
    }

    #[test]
    fn decoding_ignores_a_truncated_column() {
        let bytes = encode(&[(1, String::new()), (7, "\u{e9}clair".to_owned())]);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).len() < 2);
        }
    }
}
