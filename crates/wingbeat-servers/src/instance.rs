//! A server process that tests can end, start again and pause.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group};

use crate::folder::Folder;

/// The time limit for the start and for the end of a server.
const LIMIT: Duration = Duration::from_secs(300);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(25);

/// A server: its command, its readiness check, and its process while it runs.
pub(crate) struct Instance {
    name: &'static str,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    process: Mutex<Option<Child>>,
    folder: Folder,
}

impl Instance {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(
        name: &'static str,
        folder: Folder,
        command: impl Fn() -> Command + Send + Sync + 'static,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let instance = Self {
            name,
            command: Box::new(command),
            is_ready: Box::new(is_ready),
            process: Mutex::new(None),
            folder,
        };
        instance.start_again();
        instance
    }

    /// Starts the server after it has ended, and waits until it is ready.
    pub(crate) fn start_again(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "{} is already running", self.name);
        let log = || {
            let file = self.folder.path().join("log");
            let opened = File::options().create(true).append(true).open(file);
            Stdio::from(opened.expect("the temporary folder can be written"))
        };
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        let mut child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {}: {why}", self.name));
        self.folder.watch(child.id());
        let start = Instant::now();
        while !(self.is_ready)() {
            let ended = child.try_wait().expect("the child has not been waited for");
            if ended.is_some() || start.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                panic!(
                    "{} is not ready after {LIMIT:?} (exit status {ended:?}): {}",
                    self.name,
                    log.unwrap_or_default()
                );
            }
            std::thread::sleep(PAUSE);
        }
        *process = Some(child);
    }

    /// Sends a signal to the server and waits until it has ended.
    pub(crate) fn end(&self, signal: Signal) {
        if let Some(mut child) = self.process().take() {
            // A paused process handles no other signal than SIGKILL.
            send(&child, Signal::CONT);
            send(&child, signal);
            let start = Instant::now();
            while child
                .try_wait()
                .expect("the child has not been waited for")
                .is_none()
            {
                if start.elapsed() > LIMIT {
                    send(&child, Signal::KILL);
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Suspends the server, if it runs, and waits until none of its threads works any more.
    ///
    /// # Panics
    ///
    /// If the process has been waited for.
    pub(crate) fn pause(&self) {
        if let Some(child) = &*self.process() {
            send(child, Signal::STOP);
            let id = Pid::from_child(child);
            let ends = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let stopped = rustix::process::waitid(WaitId::Pid(id), ends);
            stopped.expect("the child has not been waited for");
        }
    }

    /// Resumes the server after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        if let Some(child) = &*self.process() {
            send(child, Signal::CONT);
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
        // The process may have ended in the meantime.
        let _ = kill_process_group(group, signal);
    }
}
