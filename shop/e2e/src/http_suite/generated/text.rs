//! Hostile text for paths, queries, headers and JSON.

use fastrand::Rng;

/// Returns a segment of a path, or a value of a query.
pub(super) fn segment(random: &mut Rng) -> String {
    let fixed = [
        "%00",
        "a%00b",
        "%ff",
        "%C3%28",
        "%",
        "%zz",
        "%2F",
        "%2e%2e",
        "..",
        ".",
        "",
        "%20",
        "+",
        "%E2%82%AC",
        "'",
        "%22",
        "0",
        "-1",
        "null",
        "AAAA",
        "01ffffffffffffffff",
        "9223372036854775808",
        "1e9",
        "%F0%9F%92%A5",
        "%EF%BB%BF",
        "00000000-0000-0000-0000-000000000000",
        "0192A3B4-C5D6-7E8F-9012-3456789ABCDE",
        "WB-BELL-01",
        "wb-bell-01",
        "%0d%0aX:1",
        "%25",
    ];
    match random.usize(..fixed.len() + 2) {
        0 => "a".repeat(random.usize(100..6_000)),
        1 => "%E2%82%AC".repeat(random.usize(1..200)),
        other => fixed[other - 2].to_owned(),
    }
}

/// Returns the value of a header. hyper refuses some of them with the whole request.
pub(super) fn header(random: &mut Rng) -> Vec<u8> {
    let fixed: [&[u8]; 12] = [
        b"",
        b" ",
        b"a b",
        b"\xff\xfe",
        b"\xc3\xa9",
        b"-1",
        b"99999999999999999999",
        b"\"\"",
        b"*",
        b"W/\"x\", \"y\"",
        b"a\tb",
        b"a\x00b",
    ];
    match random.usize(..fixed.len() + 3) {
        0 => vec![b'k'; 255],
        1 => vec![b'k'; 256],
        2 => vec![b'k'; random.usize(1_000..5_000)],
        other => fixed[other - 3].to_vec(),
    }
}

/// Returns text for a field of a body.
pub(super) fn field(random: &mut Rng) -> String {
    let fixed = [
        "",
        " ",
        "\0",
        "a\0b",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{200b}",
        "\u{202e}abc",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
        "e\u{301}",
        "💥",
        "ſ",
        "İ",
        "'; DROP TABLE record; --",
        "\\",
        "\"",
        "{}",
        "null",
        "-1",
        "0",
        "\r\nX: 1",
        "a@b.example",
        "tok_ok",
        "WB-BELL-01",
        "%00",
        "€",
    ];
    match random.usize(..fixed.len() + 3) {
        0 => "a".repeat(random.usize(90..300)),
        1 => "€".repeat(random.usize(90..3_000)),
        2 => "a".repeat(random.usize(3_000..70_000)),
        other => fixed[other - 3].to_owned(),
    }
}

/// Changes the text of a JSON document, so that it is probably no JSON.
pub(super) fn json(valid: &str, random: &mut Rng) -> Vec<u8> {
    let bytes = valid.as_bytes();
    match random.usize(..14) {
        0 => Vec::new(),
        1 => bytes[..random.usize(..bytes.len())].to_vec(),
        2 => [bytes, b"}"].concat(),
        3 => [b"\xef\xbb\xbf", bytes].concat(),
        4 => bytes.iter().flat_map(|byte| [*byte, 0]).collect(),
        5 => "[".repeat(random.usize(1..20_000)).into_bytes(),
        6 => "{\"a\":".repeat(random.usize(1..2_000)).into_bytes(),
        7 => valid.replacen('"', "\"\\ud800", 1).into_bytes(),
        8 => [&bytes[..1], b"\xff\xfe", &bytes[1..]].concat(),
        9 => valid.replacen(':', ":1e999,\"x\":", 1).into_bytes(),
        10 => format!("{valid}{valid}").into_bytes(),
        11 => b"null".to_vec(),
        12 => vec![b' '; random.usize(1..70_000)],
        _ => {
            let mut changed = bytes.to_vec();
            let at = random.usize(..changed.len());
            changed[at] = random.u8(..);
            changed
        }
    }
}
