//! The index columns of a view's row, as bytes: number, length, text, one after the other.

pub(super) fn encode(columns: &[(u32, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (column, value) in columns {
        bytes.extend_from_slice(&column.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes
}

/// Reads back what `encode` wrote; what is not such bytes is left out.
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
    fn columns_survive_their_encoding_and_truncation_does_no_harm() {
        let columns = vec![(1, String::new()), (7, "\u{e9}clair".to_owned())];
        let bytes = encode(&columns);
        assert_eq!(decode(&bytes), columns);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).len() < 2);
        }
    }
}
