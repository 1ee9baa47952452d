//! Text of other programs, for logs, errors and dead letters.

/// Returns whether CloudEvents 1.0 (section 3.1, "Type System") forbids a character in a string:
/// control characters and noncharacters.
#[must_use]
pub fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (code & 0xfffe) == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// Returns a text of at most `bytes_max` bytes on one line: control characters are escaped, and a
/// longer text ends with `…`.
///
/// ```
/// use wingbeat_core::text::printable;
///
/// assert_eq!(printable("a\nb", 100), "a\\nb");
/// assert_eq!(printable("a long text", 9), "a long…");
/// ```
#[must_use]
pub fn printable(text: &str, bytes_max: usize) -> String {
    const MORE: char = '…';
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    // The length up to which `MORE` still fits.
    let mut fits = 0;
    for character in text.chars() {
        // Separators of lines and paragraphs, and characters that reverse the text around them.
        let reorders = matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_forbidden(character) || reorders {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > bytes_max {
            shown.truncate(fits);
            shown.push(MORE);
            return shown;
        }
        if shown.len() + MORE.len_utf8() <= bytes_max {
            fits = shown.len();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printable_text_is_one_line_within_its_limit() {
        let text = "a\u{0}b\r\n\u{2028}\u{fffe}ü".repeat(50);
        for bytes_max in 3..text.len() {
            let shown = printable(&text, bytes_max);
            assert!(shown.len() <= bytes_max, "{} bytes", shown.len());
            assert!(!shown.chars().any(is_forbidden), "{shown}");
            assert!(shown.lines().count() <= 1, "{shown}");
        }
        assert_eq!(printable("plain ü", 100), "plain ü");
    }
}
