//! A shorter form of texts with ids, digests and times.
//!
//! Their digits look random, so compression alone does not shrink them. Here each becomes the
//! number that its digits write. Any bytes come back as they were: bytes that mark a number are
//! escaped. UTF-8 contains none of those.

/// A UUID: 32 digits in lower case, with hyphens. 16 bytes follow.
const UUID: u8 = 0xf8;
/// Hexadecimal digits in lower case. The number of bytes and the bytes follow.
const HEX: u8 = 0xf9;
/// A timestamp such as `2026-11-29T13:44:31.679978Z`. The number of its 20 decimal digits follows.
const TIME: u8 = 0xfa;
/// A byte that would mark a number follows.
const ESCAPE: u8 = 0xfb;

const UUID_FORM: &[u8] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const TIME_FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
/// Bytes of a number of 20 decimal digits.
const TIME_BYTES: usize = 9;
/// Fewer hexadecimal digits are hardly shorter as a number.
const HEX_MIN: usize = 12;
const HEX_MAX: usize = 2 * u8::MAX as usize;

/// Returns the shorter form.
pub(crate) fn encode(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some(&first) = text.first() {
        let digits = text.iter().take_while(|byte| is_hex(**byte)).count();
        let read = match digits {
            0 if (UUID..=ESCAPE).contains(&first) => {
                out.extend([ESCAPE, first]);
                1
            }
            0 => {
                out.push(first);
                1
            }
            4 if has_form(text, TIME_FORM) => {
                out.push(TIME);
                let digits = text[..TIME_FORM.len()]
                    .iter()
                    .filter(|it| it.is_ascii_digit());
                let number = digits.fold(0_u128, |sum, it| sum * 10 + u128::from(it - b'0'));
                out.extend_from_slice(&number.to_be_bytes()[16 - TIME_BYTES..]);
                TIME_FORM.len()
            }
            8 if has_form(text, UUID_FORM) => {
                out.push(UUID);
                let digits = text[..UUID_FORM.len()].iter().filter(|it| **it != b'-');
                push_bytes(digits, &mut out);
                UUID_FORM.len()
            }
            HEX_MIN.. => {
                let digits = digits.min(HEX_MAX) & !1;
                out.push(HEX);
                out.push(u8::try_from(digits / 2).expect("at most 255"));
                push_bytes(text[..digits].iter(), &mut out);
                digits
            }
            _ => {
                out.extend_from_slice(&text[..digits]);
                digits
            }
        };
        text = &text[read..];
    }
    out
}

/// Returns the text of a shorter form; `None` if it is none.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = match first {
            UUID => {
                let (number, rest) = rest.split_first_chunk::<16>()?;
                let mut digits = number.iter().flat_map(|byte| hex(*byte));
                write_form(UUID_FORM, &mut digits, &mut out)?;
                rest
            }
            HEX => {
                let (length, rest) = rest.split_first()?;
                let (number, rest) = rest.split_at_checked(usize::from(*length))?;
                out.extend(number.iter().flat_map(|byte| hex(*byte)));
                rest
            }
            TIME => {
                let (number, rest) = rest.split_first_chunk::<TIME_BYTES>()?;
                let number = number
                    .iter()
                    .fold(0_u128, |sum, it| sum << 8 | u128::from(*it));
                write_form(TIME_FORM, &mut format!("{number:020}").bytes(), &mut out)?;
                rest
            }
            ESCAPE => {
                let (byte, rest) = rest.split_first()?;
                out.push(*byte);
                rest
            }
            byte => {
                out.push(byte);
                rest
            }
        };
    }
    Some(out)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Returns whether a text begins with a form, in which `x` and `d` are digits.
fn has_form(text: &[u8], form: &[u8]) -> bool {
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'x' => is_hex(*byte),
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() >= form.len() && text.iter().zip(form).all(fits)
}

/// Writes a form with these digits. Returns `None` if their number is another.
fn write_form(form: &[u8], digits: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) -> Option<()> {
    for byte in form {
        out.push(match byte {
            b'x' | b'd' => digits.next()?,
            other => *other,
        });
    }
    digits.next().is_none().then_some(())
}

/// Appends the bytes that hexadecimal digits write, two digits each.
fn push_bytes<'a>(digits: impl Iterator<Item = &'a u8>, out: &mut Vec<u8>) {
    let mut values = digits.map(|digit| match digit {
        b'0'..=b'9' => digit - b'0',
        letter => letter - b'a' + 10,
    });
    while let (Some(high), Some(low)) = (values.next(), values.next()) {
        out.push(high << 4 | low);
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> usize {
        let bytes = encode(text.as_bytes());
        assert_eq!(decode(&bytes).as_deref(), Some(text.as_bytes()));
        bytes.len()
    }

    #[test]
    fn ids_digests_and_times_are_short() {
        assert_eq!(encoded("01a2278c-4440-7f3f-be07-2db3dafecfd2"), 17);
        assert_eq!(encoded("2026-11-29T13:44:31.679978Z"), 10);
        assert_eq!(encoded("9999-99-99T99:99:99.999999Z"), 10);
        assert_eq!(encoded("0000-00-00T00:00:00.000000Z"), 10);
        assert_eq!(encoded(&"5ca1ab1e".repeat(8)), 34);
        assert_eq!(encoded(&"a".repeat(511)), 258);
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "",
            "facade",
            "01A2278C-4440-7F3F-BE07-2DB3DAFECFD2",
            "01a2278c-4440-7f3f-be07-2db3dafecfdx",
            "2026-11-29T13:44:31.67997Z",
            "ünï·cødé",
        ] {
            assert_eq!(encode(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn what_was_cut_off_is_an_error() {
        let bytes = encode(b"01a2278c-4440-7f3f-be07-2db3dafecfd2");
        assert!((1..bytes.len()).all(|end| decode(&bytes[..end]).is_none()));
        assert_eq!(decode(&[&[TIME][..], &[0xff; TIME_BYTES]].concat()), None);
        assert_eq!(decode(&[HEX, 2, 0]), None);
        assert_eq!(decode(&[ESCAPE]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_comes_back(text in "([0-9a-f]{0,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9T:.Z-]{27}|.){0,8}") {
            prop_assert_eq!(decode(&encode(text.as_bytes())), Some(text.into_bytes()));
        }

        #[test]
        fn damaged_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
