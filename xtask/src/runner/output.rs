//! Reads the output of libtest: counts, failed tests, and the time at which each test ended.

use std::time::Duration;

use super::tally::Tally;
use super::timing;

/// The output of one test program, or of several in a row.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Several programs write to it, each with a closing line of its own. The output of one
    /// program has other closing lines only inside the captured output of a failed test.
    several: bool,
    closed: Vec<Closed>,
    /// The indented lines since the last line `failures:`.
    names: Vec<String>,
    /// A test that has started: with one thread, its verdict may follow in a later line.
    started: Option<String>,
    /// The tests in the order in which they ended.
    ended: Vec<(Duration, String)>,
}

/// A closing line, with the names of the failed tests before it.
#[derive(Debug)]
struct Closed {
    tally: Tally,
    failed: Vec<String>,
}

impl Output {
    pub(super) fn of_program() -> Self {
        Self::default()
    }

    pub(super) fn of_several() -> Self {
        Self {
            several: true,
            ..Self::default()
        }
    }

    /// Takes the next line, with the time since the start.
    pub(super) fn read(&mut self, at: Duration, line: &str) {
        if line == "failures:" {
            self.names.clear();
        } else if let Some(name) = line.strip_prefix("    ") {
            self.names.push(name.trim_end().to_owned());
        } else if let Some(tally) = Tally::of_closing(line) {
            if !self.several {
                self.closed.clear();
            }
            let mut failed = std::mem::take(&mut self.names);
            if tally.failed == 0 {
                failed.clear();
            }
            self.closed.push(Closed { tally, failed });
        } else if let Some((name, rest)) = test_line(line) {
            if is_verdict(rest) {
                self.ended.push((at, name.to_owned()));
            } else {
                self.started = Some(name.to_owned());
            }
        } else if is_verdict(line) {
            self.ended
                .extend(self.started.take().map(|name| (at, name)));
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for closed in &self.closed {
            sum += closed.tally;
        }
        sum
    }

    /// The names of the failed tests.
    pub(super) fn failed(&self) -> Vec<String> {
        let failed = self.closed.iter().flat_map(|closed| &closed.failed);
        failed.cloned().collect()
    }

    /// The time of each test, if one program ran them with this many threads.
    pub(super) fn times(
        &self,
        threads: usize,
        named: impl Fn(&str) -> String,
    ) -> Vec<(String, Duration)> {
        if self.several {
            return Vec::new();
        }
        let times = timing::times(&self.ended, threads).into_iter();
        times.map(|(name, took)| (named(name), took)).collect()
    }
}

/// The name and the rest of a line such as `test a::b - should panic ... ok`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let modes = [" - should panic", " - compile fail", " - compile"];
    let plain = modes.iter().find_map(|mode| name.strip_suffix(mode));
    Some((plain.unwrap_or(name), rest))
}

fn is_verdict(text: &str) -> bool {
    text == "ok" || text == "FAILED"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut output: Output, text: &str) -> Output {
        for line in text.lines() {
            output.read(Duration::ZERO, line);
        }
        output
    }

    const FAILING: &str = "
running 3 tests
test a::passes ... ok
test a::fails ... FAILED
test b::panics - should panic ... FAILED

failures:

---- a::fails stdout ----

thread 'a::fails' panicked at tests/it/a.rs:9:5:
output: running 1 test
test other::nested ... FAILED
failures:
    other::nested
test result: FAILED. 7 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
    indented output

---- b::panics stdout ----
note: test did not panic as expected

failures:
    a::fails
    b::panics

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s
";

    #[test]
    fn the_last_list_of_failures_and_the_last_closing_line_count() {
        let output = read(Output::of_program(), FAILING);
        assert_eq!(output.failed(), ["a::fails", "b::panics"]);
        assert_eq!(output.tally().to_string(), "1 passed, 2 failed");
    }

    #[test]
    fn a_green_program_has_no_failures() {
        let text = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed;";
        let output = read(Output::of_program(), text);
        assert_eq!(output.failed(), Vec::<String>::new());
        assert_eq!(output.tally().passed, 1);
    }

    #[test]
    fn documentation_tests_of_several_crates_add_up() {
        let text = "   Doc-tests wingbeat

running 2 tests
test crates/wingbeat/src/app.rs - app::App (line 12) ... ok
test crates/wingbeat/src/lib.rs - (line 3) - compile fail ... FAILED

failures:

---- crates/wingbeat/src/lib.rs - (line 3) stdout ----
Test compiled successfully, but it's marked `compile_fail`.

failures:
    crates/wingbeat/src/lib.rs - (line 3)

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s

all doctests ran in 0.51s; merged doctests compilation took 0.40s
error: doctest failed, to rerun pass `-p wingbeat --doc`
   Doc-tests wingbeat_core

running 1 test
test crates/wingbeat-core/src/ids.rs - ids::Id (line 8) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let output = read(Output::of_several(), text);
        assert_eq!(output.tally().to_string(), "2 passed, 1 failed");
        assert_eq!(output.failed(), ["crates/wingbeat/src/lib.rs - (line 3)"]);
    }

    #[test]
    fn a_verdict_may_follow_output_of_the_test() {
        let text = "test a ... the server starts\nit stops\nok\ntest b ... FAILED\nok\n\
                    test c ... ignored\ntest d has been running for over 60 seconds";
        let output = read(Output::of_program(), text);
        let names: Vec<&str> = output.ended.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn the_mode_of_a_test_is_not_part_of_its_name() {
        for mode in ["", " - should panic", " - compile fail", " - compile"] {
            let line = format!("test a::b{mode} ... ok");
            assert_eq!(test_line(&line), Some(("a::b", "ok")), "{line}");
        }
        assert_eq!(test_line("the test a ... ok"), None);
    }
}
