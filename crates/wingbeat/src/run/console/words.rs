//! Numbers, times and paths as text.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Timestamp;

/// Returns a number with separators: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number and a noun: `1 message`, `2 messages`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Returns the distance of a time from now: `3 min ago`, `in 2 h`.
pub(super) fn relative(now: Timestamp, at: Timestamp) -> String {
    if at > now {
        return format!("in {}", span(at.since(now)));
    }
    let age = now.since(at);
    if age < Duration::from_secs(1) {
        return "just now".to_owned();
    }
    format!("{} ago", span(age))
}

/// Returns a duration in its largest unit.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3_600 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Returns the time between two steps: `+38 ms`, `+2.1 s`, `+3 min`.
pub(super) fn since(start: Timestamp, at: Timestamp) -> String {
    match at.since(start) {
        short if short < Duration::from_secs(1) => format!("+{} ms", short.as_millis()),
        some if some < Duration::from_secs(60) => format!("+{:.1} s", some.as_secs_f64()),
        long => format!("+{}", span(long)),
    }
}

/// Percent-encodes text for a path segment or a query value (RFC 3986: all but unreserved
/// characters).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    encoded
}

/// Returns JSON with line breaks and indents. Numbers and the order of fields stay as they are,
/// which they would not if the text were parsed.
pub(super) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            text.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            '{' | '[' => {
                text.push(character);
                while characters.next_if(|it| it.is_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|it| matches!(it, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(character);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            space if space.is_whitespace() => {}
            other => {
                in_string = other == '"';
                text.push(other);
            }
        }
    }
    text
}

/// The deepest indent, so that a small hostile body does not become a large page.
const DEPTH_MAX: usize = 16;

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    for _ in 0..depth.min(DEPTH_MAX) {
        text.push_str("  ");
    }
}

/// Returns the last part of a message type without its version: `order paid` of
/// `orders.order_paid.v1`.
pub(super) fn plain(name: &str) -> String {
    let unversioned = match name.rsplit_once(".v") {
        Some((name, version)) if version.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => name,
    };
    let last = unversioned.rsplit('.').next().unwrap_or(unversioned);
    last.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let all = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let ago = |seconds| relative(now, now - Duration::from_secs(seconds));
        assert_eq!(
            [0, 59, 60, 7_200, 200_000].map(ago),
            ["just now", "59 s ago", "1 min ago", "2 h ago", "2 days ago"]
        );
        assert_eq!(relative(now, now + Duration::from_secs(90)), "in 1 min");
        assert_eq!(since(now, now + Duration::from_millis(38)), "+38 ms");
        assert_eq!(since(now, now + Duration::from_millis(2_100)), "+2.1 s");
    }

    #[test]
    fn indented_json_keeps_its_numbers_strings_and_order() {
        let json = r#"{"b":12345678901234567890123,"a":["x,{\"}",{}],"e":""}"#;
        let lines = [
            "{",
            "  \"b\": 12345678901234567890123,",
            "  \"a\": [",
            "    \"x,{\\\"}\",",
            "    {}",
            "  ],",
            "  \"e\": \"\"",
            "}",
        ];
        assert_eq!(indented(json), lines.join("\n"));
        assert!(indented(&"[".repeat(1_000)).len() < 40_000, "it is bounded");
    }
}
