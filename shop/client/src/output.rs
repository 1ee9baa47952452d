//! The output of a command. A closed stream is an error of the command, not a panic.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// The exit code of a command that cannot do or report its work.
const FAILED: u8 = 2;

/// Writes the result of a command to stdout. Exit code 0 if it is good, 1 if it is not; 2 if nobody
/// can read it.
pub fn result(command: &str, text: &str, is_good: bool) -> ExitCode {
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(u8::from(!is_good)),
        Err(why) => failed(command, format_args!("the result cannot be written: {why}")),
    }
}

/// Reports on stderr why a command failed.
pub fn failed(command: &str, why: impl Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "shop {command}: {why}");
    ExitCode::from(FAILED)
}
