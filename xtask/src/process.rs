//! Running other programs: what is run is printed, what it prints is seen, and its failure is ours.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::tally::Tally;

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A cargo of the same toolchain that runs us.
///
/// `cargo run` describes the package of xtask in the environment. Build scripts that watch those
/// variables would run again each time, so the child does not see them.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (key, _) in std::env::vars_os() {
        if is_about_xtask(&key) {
            command.env_remove(key);
        }
    }
    command.args(args);
    command
}

fn is_about_xtask(key: &OsStr) -> bool {
    let key = key.to_string_lossy();
    key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")
}

/// Runs to the end with our stdin, stdout and stderr.
///
/// # Errors
/// When it does not start or does not succeed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    announce(command);
    let status = command.status().with_context(|| does_not_start(command))?;
    ensure!(status.success(), "`{}`: {status}", line(command));
    Ok(())
}

/// Like [`run`], and adds up the closing lines of the test runners in its output.
///
/// # Errors
/// When it does not start, does not succeed, or ran no test.
pub(crate) fn run_tests(command: &mut Command) -> anyhow::Result<Tally> {
    announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| does_not_start(command))?;
    let mut tally = Tally::default();
    let theirs = child.stdout.take().expect("its stdout was piped above");
    for text in BufReader::new(theirs).split(b'\n') {
        let text = text?;
        let text = String::from_utf8_lossy(&text);
        tally.read(&text);
        println!("{text}");
        io::stdout().flush()?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{}`: {status}, {tally}", line(command));
    ensure!(tally.passed > 0, "`{}` ran no test", line(command));
    Ok(tally)
}

/// Like [`run`], and ends the program when it takes longer than the limit.
///
/// # Errors
/// When it does not start, does not succeed, or is still running at the limit.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> anyhow::Result<()> {
    announce(command);
    let child = command.spawn().with_context(|| does_not_start(command))?;
    match wait_within(limit, child)? {
        Some(status) => ensure!(status.success(), "`{}`: {status}", line(command)),
        None => bail!("`{}` still runs after {limit:?}", line(command)),
    }
    Ok(())
}

/// Does it succeed within the limit? What it prints is not shown.
pub(crate) fn succeeds_within(limit: Duration, command: &mut Command) -> bool {
    let (stdin, stdout, stderr) = (Stdio::null(), Stdio::null(), Stdio::null());
    let started = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
    let ended = started.and_then(|child| wait_within(limit, child));
    matches!(ended, Ok(Some(status)) if status.success())
}

/// How it ended, or nothing when it had to be ended.
fn wait_within(limit: Duration, mut child: Child) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn announce(command: &Command) {
    println!("$ {}", line(command));
}

fn does_not_start(command: &Command) -> String {
    format!("`{}` does not start", line(command))
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let error = run(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().contains("`false`"), "{error}");
    }

    #[test]
    fn a_green_test_run_without_tests_is_an_error() {
        let closing = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured";
        let error = run_tests(Command::new("echo").arg(closing)).unwrap_err();
        assert!(error.to_string().contains("ran no test"), "{error}");
    }

    #[test]
    fn a_program_over_its_time_limit_is_ended_and_has_not_succeeded() {
        let begun = Instant::now();
        let limit = Duration::from_millis(100);
        assert!(!succeeds_within(limit, Command::new("sleep").arg("60")));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
