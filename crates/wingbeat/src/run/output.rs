//! Lines for the person who started the program. A closed or full stream is no reason to end it.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a line to stdout, if it can be written.
pub(super) fn say(line: impl Display) {
    // `println!` panics if nobody reads: with `shop | head -1`, for example.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line to stderr, if it can be written.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
