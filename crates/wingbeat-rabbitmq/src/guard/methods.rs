//! The methods whose texts a publisher chooses.

// Methods (class, method).
pub(super) const TUNE: (u16, u16) = (10, 30);
const RETURN: (u16, u16) = (60, 50);
const DELIVER: (u16, u16) = (60, 60);
const GET_OK: (u16, u16) = (60, 71);

/// Returns the class and the number of a method.
pub(super) fn method(payload: &[u8]) -> Option<(u16, u16)> {
    let [class, method] = [payload.get(..2)?, payload.get(2..4)?];
    let number = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
    Some((number(class)?, number(method)?))
}

/// Returns a method with readable texts in place of those that are not UTF-8: a publisher chooses
/// the routing key. Returns `None` if the method can stay as it is.
pub(super) fn readable(payload: &[u8]) -> Option<Vec<u8>> {
    // The bytes before the texts, and the bytes between two of them.
    let (before, between): (usize, &[usize]) = match method(payload)? {
        DELIVER => (4, &[9, 0, 0]), // consumer tag; delivery tag, redelivered; exchange, key
        GET_OK => (4 + 9, &[0, 0]),
        RETURN => (4 + 2, &[0, 0, 0]),
        _ => return None,
    };
    let mut at = before;
    let mut rebuilt = payload.get(..before)?.to_vec();
    let mut changed = false;
    for gap in between {
        let length = usize::from(*payload.get(at)?);
        let text = payload.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        let lossy = String::from_utf8_lossy(text);
        let lossy = &lossy[..lossy.floor_char_boundary(usize::from(u8::MAX))];
        changed |= lossy.as_bytes() != text;
        rebuilt.push(u8::try_from(lossy.len()).unwrap_or(u8::MAX));
        rebuilt.extend_from_slice(lossy.as_bytes());
        rebuilt.extend_from_slice(payload.get(at..at + gap)?);
        at += gap;
    }
    rebuilt.extend_from_slice(payload.get(at..)?);
    changed.then_some(rebuilt)
}
