//! Durations as text.

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The names of a unit, and its nanoseconds.
type Unit = (&'static [&'static str], u128);

/// From the longest to the shortest.
const UNITS: [Unit; 6] = [
    (
        &["h", "hr", "hrs", "hour", "hours"],
        3_600 * NANOS_PER_SECOND,
    ),
    (
        &["m", "min", "mins", "minute", "minutes"],
        60 * NANOS_PER_SECOND,
    ),
    (&["s", "sec", "secs", "second", "seconds"], NANOS_PER_SECOND),
    (
        &[
            "ms",
            "msec",
            "msecs",
            "milli",
            "millis",
            "millisecond",
            "milliseconds",
        ],
        1_000_000,
    ),
    (
        &[
            "us",
            "\u{b5}s",
            "usec",
            "usecs",
            "micro",
            "micros",
            "microsecond",
            "microseconds",
        ],
        1_000,
    ),
    (
        &[
            "ns",
            "nsec",
            "nsecs",
            "nano",
            "nanos",
            "nanosecond",
            "nanoseconds",
        ],
        1,
    ),
];

/// Reads `500ms`, `2s`, `1h 30m`, or the form of ISO 8601, `PT2S`. The last number may have a
/// fraction.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let is_iso = text
        .get(..2)
        .is_some_and(|it| it.eq_ignore_ascii_case("PT"));
    let nanos = if is_iso {
        let text = text[2..].to_ascii_lowercase();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | 'h' | 'm' | 's');
        let has_only_parts = text.chars().all(is_part) && !text.contains("ms");
        nanos(&text).filter(|_| has_only_parts)?
    } else {
        nanos(text)?
    };
    let seconds = i64::try_from(nanos / NANOS_PER_SECOND).ok()?;
    let rest = u32::try_from(nanos % NANOS_PER_SECOND).ok()?;
    Some(Duration::new(seconds.unsigned_abs(), rest))
}

fn nanos(text: &str) -> Option<u128> {
    let (mut rest, mut sum, mut least) = (text, 0_u128, 0);
    loop {
        let (number, fraction, after) = number(rest)?;
        let after = after.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let unit = UNITS.iter().position(|(names, _)| names.contains(&name))?;
        // Shorter than all before it.
        let (_, length) = UNITS[unit..].first().filter(|_| unit >= least)?;
        least = unit + 1;
        sum += u128::from(number) * length + fraction.unwrap_or(0) * length / NANOS_PER_SECOND;
        if after.is_empty() {
            return Some(sum);
        }
        if fraction.is_some() {
            return None; // Only the last number has one.
        }
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

/// Splits off a number: what is before its point, and billionths if it has a point.
fn number(text: &str) -> Option<(u64, Option<u128>, &str)> {
    let (number, rest) = digits(text);
    let number = number.parse().ok()?;
    let Some(fraction) = rest.strip_prefix(['.', ',']) else {
        return Some((number, None, rest));
    };
    let (fraction, rest) = digits(fraction);
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let billionths: u128 = format!("{fraction:0<9}").parse().ok()?;
    Some((number, Some(billionths), rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how jiff reads a text.
    fn known(text: &str) -> Option<Duration> {
        let signed: jiff::SignedDuration = text.parse().ok()?;
        signed.try_into().ok()
    }

    #[test]
    fn durations_are_read_as_jiff_does() {
        for text in [
            "500ms",
            "2s",
            "24h",
            "0s",
            "15m",
            "1h30m",
            "1h 30m",
            "2 seconds",
            "1hour, 2min 3 secs",
            "1.5s",
            "0.25h",
            "1,5s",
            "3us",
            "7 nanos",
            "1h 2m 3s 4ms 5us 6ns",
            "PT2S",
            "pt2s",
            "PT1H30M",
            "PT0.5S",
            "PT90M",
            "2562047788015215h",
        ] {
            assert!(known(text).is_some(), "jiff reads {text}");
            assert_eq!(parse(text), known(text), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations_are_refused() {
        for text in [
            "",
            "soon",
            "2",
            "-2s",
            "2x",
            "2d",
            "s",
            "1m1h",
            "1s 1s",
            "1.5h 2m",
            ".5s",
            "1.s",
            "PT",
            "PT2",
            "PT5MS",
            "P1D",
            "PT1H 2M",
            "2562047788015216h",
            "99999999999999999999s",
            "2s,",
            "1.0000000001s",
        ] {
            assert_eq!(parse(text), None, "{text}");
            assert_eq!(known(text), None, "{text}");
        }
    }
}
