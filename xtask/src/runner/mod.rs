//! Builds the tests of the workspace once and runs them.
//!
//! Cargo builds the test programs; xtask runs them itself, two at once: most tests wait for servers
//! and processes, so one program leaves the processors idle. A test that fails is run again alone
//! without another build. Each test has a time.
//!
//! - [`binaries`] builds the programs and finds them.
//! - [`output`] reads the output of a test program. [`timing`] derives the duration of each test.
//! - [`tally`] counts results.

mod binaries;
mod output;
mod tally;
mod timing;

use std::collections::VecDeque;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;

pub(crate) use binaries::{Binary, build};
pub(crate) use tally::Tally;

use crate::process::Console;
use output::Output;

/// The number of failures up to which they are retried. More of them are no coincidence.
const RETRIED_MAX: usize = 10;

/// The number of test programs that run at once.
const PROGRAMS_AT_ONCE: usize = 2;

/// The result of running tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tests {
    pub(crate) tally: Tally,
    /// Tests that failed and passed when run once more alone.
    pub(crate) unstable: Vec<String>,
    /// Every test with its time.
    pub(crate) times: Vec<(String, Duration)>,
}

impl Tests {
    pub(crate) fn add(&mut self, other: Self) {
        self.tally += other.tally;
        self.unstable.extend(other.unstable);
        self.times.extend(other.times);
    }
}

/// Programs that print like libtest.
trait Program: Sync {
    /// The name in reports.
    fn label(&self) -> String;
    /// The command that runs all tests, or only the named one.
    fn command(&self, only: Option<&str>) -> Command;
    fn output(&self) -> Output;
}

/// Runs the tests of built programs.
///
/// # Errors
///
/// Fails if a test fails twice, a program crashes, or there is no test at all.
pub(crate) fn run(console: &Console, binaries: &[&Binary]) -> anyhow::Result<Tests> {
    let programs: Vec<&dyn Program> = binaries.iter().map(|it| *it as &dyn Program).collect();
    run_programs(console, &programs)
}

/// Runs the documentation tests of the packages that the arguments of cargo select.
///
/// # Errors
///
/// Fails if a test fails twice, or there is no test at all.
pub(crate) fn run_docs(console: &Console, args: &[&str]) -> anyhow::Result<Tests> {
    run_programs(console, &[&binaries::Docs { args }])
}

fn run_programs(console: &Console, programs: &[&dyn Program]) -> anyhow::Result<Tests> {
    let mut tests = Tests::default();
    let mut failed = Vec::new();
    for (program, status, output) in run_all(console, programs)? {
        let crashed = !status.success() && output.failed().is_empty();
        ensure!(
            !crashed,
            "{}: {status}, without a failed test",
            program.label()
        );
        tests.tally += output.tally();
        let label = program.label();
        let named = |name: &str| format!("{label}: {name}");
        tests.times.extend(output.times(timing::threads(), named));
        failed.extend(output.failed().iter().map(|name| (program, name.clone())));
    }
    let tally = tests.tally;
    ensure!(failed.len() <= RETRIED_MAX, "{tally}");
    let broken = retry(console, failed, &mut tests)?;
    let tally = tests.tally;
    ensure!(broken.is_empty(), "{tally}, twice: {}", broken.join(", "));
    ensure!(tally.passed > 0, "there is no test");
    Ok(tests)
}

type Ran<'a> = (&'a dyn Program, ExitStatus, Output);

/// Runs all programs, some at once. Returns their results in the order of their ends.
fn run_all<'a>(console: &Console, programs: &[&'a dyn Program]) -> anyhow::Result<Vec<Ran<'a>>> {
    let waiting = Mutex::new(programs.iter().copied().collect::<VecDeque<_>>());
    let ended = Mutex::new(Vec::new());
    let next = || locked(&waiting).pop_front();
    let several = programs.len() > 1;
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while let Some(program) = next() {
                let prefix = if several {
                    format!("[{}] ", program.label())
                } else {
                    String::new()
                };
                let (status, output) = run_once(console, program, None, &prefix)?;
                locked(&ended).push((program, status, output));
            }
            Ok(())
        };
        let threads: Vec<_> = (0..PROGRAMS_AT_ONCE).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect::<anyhow::Result<()>>()
    })?;
    Ok(ended.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs each failed test alone. Returns those that fail again.
fn retry(
    console: &Console,
    failed: Vec<(&dyn Program, String)>,
    tests: &mut Tests,
) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for (program, name) in failed {
        let label = format!("{}: {name}", program.label());
        console.say(format!("--- once more, alone: {label}"));
        let (status, output) = run_once(console, program, Some(&name), "")?;
        if status.success() && output.tally().passed > 0 {
            tests.tally.failed -= 1;
            tests.tally.passed += 1;
            tests.unstable.push(label);
        } else {
            broken.push(label);
        }
    }
    Ok(broken)
}

fn run_once(
    console: &Console,
    program: &dyn Program,
    only: Option<&str>,
    prefix: &str,
) -> anyhow::Result<(ExitStatus, Output)> {
    let mut output = program.output();
    let begun = Instant::now();
    let read = |line: &str| output.read(begun.elapsed(), line);
    let status = console.lines(&program.command(only), prefix, read)?;
    Ok((status, output))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A shell script that behaves like a test program; `$1` is `--exact` when it runs one test.
    struct Script<'a> {
        text: &'a str,
        folder: &'a Path,
    }

    impl Program for Script<'_> {
        fn label(&self) -> String {
            "demo it".into()
        }

        fn command(&self, only: Option<&str>) -> Command {
            let mut command = Command::new("sh");
            command
                .args(["-c", self.text, "sh"])
                .current_dir(self.folder);
            command.args(only.into_iter().flat_map(|name| ["--exact", name]));
            command
        }

        fn output(&self) -> Output {
            Output::of_program()
        }
    }

    const PASSES: &str = "echo 'test a ... ok'; echo 'test result: ok. 1 passed; 0 failed;'";
    const FAILS: &str = "echo 'test a ... FAILED'; echo 'failures:'; echo '    a'; \
                         echo 'test result: FAILED. 0 passed; 1 failed;'; exit 101";

    fn run_script(text: &str) -> anyhow::Result<Tests> {
        let folder = tempfile::tempdir().unwrap();
        let script = Script {
            text,
            folder: folder.path(),
        };
        run_programs(&Console::terminal(), &[&script, &script])
    }

    #[test]
    fn tests_of_several_programs_add_up() {
        let tests = run_script(PASSES).unwrap();
        assert_eq!(tests.tally.to_string(), "2 passed, 0 failed");
        assert_eq!(tests.unstable, Vec::<String>::new());
        assert_eq!(tests.times.len(), 2);
    }

    #[test]
    fn a_test_that_passes_when_run_alone_is_unstable_and_has_passed() {
        let text = format!("if test \"$1\" = --exact; then {PASSES}; else {FAILS}; fi");
        let tests = run_script(&text).unwrap();
        assert_eq!(tests.tally.to_string(), "2 passed, 0 failed");
        assert_eq!(tests.unstable, ["demo it: a", "demo it: a"]);
    }

    #[test]
    fn a_test_that_fails_twice_fails_the_run_and_is_named() {
        let error = run_script(FAILS).unwrap_err().to_string();
        assert!(error.contains("2 failed, twice: demo it: a"), "{error}");
    }

    #[test]
    fn a_program_that_crashes_fails_the_run() {
        let error = run_script("echo 'test a ... ok'; exit 134").unwrap_err();
        assert!(
            error.to_string().contains("without a failed test"),
            "{error}"
        );
    }

    #[test]
    fn a_run_without_tests_fails() {
        let error = run_script("echo 'test result: ok. 0 passed; 0 failed;'").unwrap_err();
        assert!(error.to_string().contains("no test"), "{error}");
    }
}
