//! Runs other programs: prints each command, shows its output, and fails if the program fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// The pause between two checks of a program with a time limit.
const POLL: Duration = Duration::from_millis(50);

/// A prefix that runs a command at the lowest priority.
const LOW_PRIORITY: [&str; 3] = ["nice", "-n", "19"];

/// The cargo of the toolchain that runs xtask.
///
/// `cargo run` describes the package of xtask in the environment. Build scripts that watch those
/// variables would run again each time, so the child does not get them.
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

/// A request to stop work in the background.
#[derive(Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    /// The process id of the running command.
    running: Mutex<Option<u32>>,
}

impl Stop {
    /// Terminates the running command; no other one starts.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        if let Some(id) = *self.running() {
            // It may have ended.
            let _ = Command::new("kill").arg(id.to_string()).status();
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Starts a command, unless it is too late. The lock keeps a request to stop from missing it.
    fn start(&self, start: impl FnOnce() -> anyhow::Result<Child>) -> anyhow::Result<Child> {
        let mut running = self.running();
        ensure!(!self.is_asked(), "stopped");
        let child = start()?;
        *running = Some(child.id());
        Ok(child)
    }

    fn running(&self) -> MutexGuard<'_, Option<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The destination of output: the terminal, or a file for work in the background.
pub(crate) struct Console {
    background: Option<Background>,
}

struct Background {
    log: File,
    stop: Arc<Stop>,
}

impl Console {
    pub(crate) const fn terminal() -> Self {
        Self { background: None }
    }

    /// Writes to a file. Commands run at the lowest priority until they are asked to stop.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be created.
    pub(crate) fn background(path: &Path, stop: Arc<Stop>) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = File::create(path).with_context(|| path.display().to_string())?;
        let background = Some(Background { log, stop });
        Ok(Self { background })
    }

    /// Prints a line.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        match &self.background {
            // A log that cannot be written must not fail the step.
            Some(background) => drop(writeln!(&mut &background.log, "{line}")),
            None => println!("{line}"),
        }
    }

    /// Runs a program to its end and shows its output.
    ///
    /// # Errors
    ///
    /// Fails if the program does not start or does not succeed.
    pub(crate) fn run(&self, command: &Command) -> anyhow::Result<()> {
        let child = self.start(command, self.shown(command)?)?;
        let status = self.end(child)?;
        ensure!(status.success(), "`{}`: {status}", line(command));
        Ok(())
    }

    /// Like [`Console::run`], but kills the program at the time limit.
    ///
    /// # Errors
    ///
    /// Fails if the program does not start, does not succeed, or still runs at the limit.
    pub(crate) fn run_within(&self, limit: Duration, command: &Command) -> anyhow::Result<()> {
        let child = self.start(command, self.shown(command)?)?;
        match wait_within(limit, child)? {
            Some(status) => ensure!(status.success(), "`{}`: {status}", line(command)),
            None => bail!("`{}` still runs after {limit:?}", line(command)),
        }
        Ok(())
    }

    /// Runs a program and returns its standard output, which is not shown. Standard error is.
    ///
    /// # Errors
    ///
    /// Fails if the program does not start or does not succeed.
    pub(crate) fn output(&self, command: &Command) -> anyhow::Result<String> {
        let mut shown = self.shown(command)?;
        shown.stdout(Stdio::piped());
        let mut child = self.start(command, shown)?;
        let mut output = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut output)?;
        }
        let status = self.end(child)?;
        ensure!(status.success(), "`{}`: {status}", line(command));
        Ok(output)
    }

    /// Runs a program, and shows (after the prefix) and visits each line of its standard output and
    /// error.
    ///
    /// Each has a pipe of its own. The programs that tests start inherit the standard error, and
    /// some make it non-blocking: on a common pipe, a test program whose output fills it would fail
    /// to write the rest.
    ///
    /// # Errors
    ///
    /// Fails if the program does not start.
    pub(crate) fn lines(
        &self,
        command: &Command,
        prefix: &str,
        mut visit: impl FnMut(&str),
    ) -> anyhow::Result<ExitStatus> {
        let ((output, stdout), (error, stderr)) = (io::pipe()?, io::pipe()?);
        let mut shown = self.shown(command)?;
        shown.stdout(stdout).stderr(stderr);
        let child = self.start(command, shown)?;
        let (send, lines) = mpsc::channel();
        std::thread::scope(|scope| -> io::Result<()> {
            for reader in [output, error] {
                let send = send.clone();
                scope.spawn(move || {
                    let mut lines = BufReader::new(reader).split(b'\n');
                    while lines.next().is_some_and(|line| send.send(line).is_ok()) {}
                });
            }
            drop(send);
            for text in lines {
                let text = String::from_utf8_lossy(&text?).into_owned();
                visit(&text);
                self.say(format!("{prefix}{text}"));
            }
            Ok(())
        })?;
        self.end(child)
    }

    /// Starts a command as it is to be shown. That also closes our ends of its pipes, for which a
    /// reader would wait.
    fn start(&self, command: &Command, shown: Command) -> anyhow::Result<Child> {
        let start = move || {
            let mut shown = shown;
            let child = shown.spawn();
            child.with_context(|| format!("`{}` does not start", line(command)))
        };
        match &self.background {
            Some(background) => background.stop.start(start),
            None => start(),
        }
    }

    fn end(&self, mut child: Child) -> anyhow::Result<ExitStatus> {
        let status = child.wait()?;
        if let Some(background) = &self.background {
            *background.stop.running() = None;
        }
        Ok(status)
    }

    /// Prints the command and returns it with this console as its output.
    fn shown(&self, command: &Command) -> anyhow::Result<Command> {
        self.say(format!("$ {}", line(command)));
        let Some(Background { log, .. }) = &self.background else {
            return Ok(copied(command, &[]));
        };
        let mut low = copied(command, &LOW_PRIORITY);
        low.stdin(Stdio::null());
        low.stdout(log.try_clone()?).stderr(log.try_clone()?);
        Ok(low)
    }
}

/// Returns whether a program succeeds within the limit. Its output is not shown.
pub(crate) fn succeeds_within(limit: Duration, command: &mut Command) -> bool {
    let (stdin, stdout, stderr) = (Stdio::null(), Stdio::null(), Stdio::null());
    let started = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
    let ended = started.and_then(|child| wait_within(limit, child));
    matches!(ended, Ok(Some(status)) if status.success())
}

/// Waits for a program. Kills it at the limit and returns `None`.
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

/// Copies a command with a prefix.
fn copied(command: &Command, prefix: &[&str]) -> Command {
    let words = prefix.iter().map(OsStr::new);
    let mut words = words
        .chain([command.get_program()])
        .chain(command.get_args());
    let mut copy = Command::new(words.next().unwrap_or_default());
    copy.args(words);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(key, value),
            None => copy.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    copy
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
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
    fn a_failing_program_is_an_error_that_names_it() {
        let error = Console::terminal().run(&Command::new("false")).unwrap_err();
        assert!(error.to_string().contains("`false`"), "{error}");
    }

    #[test]
    fn a_program_over_its_time_limit_is_killed_and_has_not_succeeded() {
        let begun = Instant::now();
        let limit = Duration::from_millis(100);
        assert!(!succeeds_within(limit, Command::new("sleep").arg("60")));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn lines_of_each_stream_come_in_the_order_of_writing() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three"]);
        let visit = |line: &str| lines.push(line.to_owned());
        let status = Console::terminal().lines(&command, "", visit).unwrap();
        assert!(status.success());
        let error = lines.iter().position(|line| line == "two").unwrap();
        lines.remove(error);
        assert_eq!(lines, ["one", "three"]);
    }

    /// Some programs that tests start make the standard error non-blocking, and leave it so.
    #[test]
    fn a_standard_error_that_does_not_block_loses_no_line_of_the_output() {
        let mut command = Command::new("sh");
        let non_blocking = "open(E, '>&=2'); fcntl(E, F_SETFL, O_NONBLOCK | O_WRONLY) or die";
        let script = format!("perl -MFcntl -e \"{non_blocking}\"; seq 100000");
        command.args(["-c", &script]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step.log");
        let console = Console::background(&path, Arc::default()).unwrap();
        let mut count = 0;
        let status = console.lines(&command, "", |_| count += 1).unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(count, 100_000);
    }

    #[test]
    fn work_in_the_background_ends_when_it_is_asked_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let stop = Arc::new(Stop::default());
        let path = folder.path().join("step.log");
        let console = Console::background(&path, Arc::clone(&stop)).unwrap();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| console.run(Command::new("sleep").arg("600")));
            while stop.running().is_none() {
                std::thread::yield_now();
            }
            stop.ask();
            assert!(work.join().unwrap().is_err());
        });
        let error = console.run(&Command::new("true")).unwrap_err();
        assert_eq!(error.to_string(), "stopped");
    }

    #[test]
    fn work_in_the_background_writes_to_its_log_at_the_lowest_priority() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/step.log");
        let console = Console::background(&path, Arc::default()).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $LEVEL; nice"])
            .env("LEVEL", "low");
        console.run(&command).unwrap();
        let log = fs::read_to_string(&path).unwrap();
        assert_eq!(log, "$ sh -c echo $LEVEL; nice\nlow\n19\n");
    }
}
