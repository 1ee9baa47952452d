//! Texts that people write and others read on one line, such as names and addresses.

/// Returns whether a text is one line of at most `longest` characters, which shows something.
#[must_use]
pub fn is_line(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest
        && text.chars().any(is_seen)
        && !text.chars().any(is_unprintable)
}

/// Returns whether a character shows something by itself. Joiners and variation selectors occur in
/// words and emoji, but change only the characters beside them.
fn is_seen(c: char) -> bool {
    let joins = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    !c.is_whitespace() && !joins && !is_unprintable(c)
}

/// Returns whether a character is invisible, or changes the lines or the direction of the text
/// around it. A name with one could imitate other text of a page or a mail.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let directs = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
    );
    c.is_control() || separates || directs || is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_something_and_changes_nothing_around_it() {
        for line in [
            "Ada",
            " Zoë O’Neil ",
            "می\u{200c}خواهم",
            "👩\u{200d}🔧\u{fe0f}",
            "李",
            "-",
        ] {
            assert!(is_line(line, 20), "{line:?}");
        }
        for mark in "\n\r\t\0\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{ad}\u{3164}".chars() {
            assert!(!is_line(&format!("Ada{mark}x"), 20), "{mark:?}");
            assert!(!is_line(&mark.to_string(), 20), "{mark:?}");
        }
        for empty in ["", " ", "\u{a0}\u{3000}", "\u{200d}", "\u{200c} \u{fe0f}"] {
            assert!(!is_line(empty, 20), "{empty:?}");
        }
        assert!(is_line(&"ä".repeat(20), 20) && !is_line(&"ä".repeat(21), 20));
    }
}
