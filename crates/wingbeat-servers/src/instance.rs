//! One server process that can be ended, started again and held still.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::place::Place;

/// Longest wait for a server to answer or to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// A server: how to start it, how to see that it answers, and the process while there is one.
pub(crate) struct Instance {
    name: &'static str,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    answers: Box<dyn Fn() -> bool + Send + Sync>,
    process: Mutex<Option<Child>>,
    place: Place,
}

impl Instance {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(
        name: &'static str,
        place: Place,
        command: impl Fn() -> Command + Send + Sync + 'static,
        answers: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let instance = Self {
            name,
            command: Box::new(command),
            answers: Box::new(answers),
            process: Mutex::new(None),
            place,
        };
        instance.start_again();
        instance
    }

    /// Starts the server that has ended, and waits until it answers.
    pub(crate) fn start_again(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "{} runs already", self.name);
        let log = || {
            let file = self.place.path().join("log");
            let opened = File::options().create(true).append(true).open(file);
            Stdio::from(opened.expect("the temporary folder can be written"))
        };
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let mut child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|why| panic!("{} does not start: {why}", self.name));
        self.place.watch(child.id());
        let start = Instant::now();
        while !(self.answers)() {
            let ended = child.try_wait().expect("a child can be asked");
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.place.path().join("log"));
                panic!(
                    "{} does not answer ({ended:?}): {}",
                    self.name,
                    log.unwrap_or_default()
                );
            }
            std::thread::sleep(PAUSE);
        }
        *process = Some(child);
    }

    /// Sends a signal to the server and waits for its end.
    pub(crate) fn end(&self, signal: Signal) {
        if let Some(mut child) = self.process().take() {
            // One that is held still would not hear it.
            send(&child, Signal::CONT);
            send(&child, signal);
            let start = Instant::now();
            while child.try_wait().expect("a child can be asked").is_none() {
                if start.elapsed() > PATIENCE {
                    send(&child, Signal::KILL);
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Sends a signal to the server, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &*self.process() {
            send(child, signal);
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}

fn send(child: &Child, signal: Signal) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(group, signal);
    }
}
