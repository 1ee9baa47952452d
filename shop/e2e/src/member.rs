//! One process of a fleet.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use shop_client::Shop;
use shop_client::http::Call;

use crate::wait::until;

/// The exit status of a process that found a server unavailable at its start.
pub(crate) const CANNOT_START: i32 = 2;

/// Lines of a log in a panic.
const LOGGED: usize = 10;

/// One process: services, the gateway, the payment provider, or several of them.
pub struct Member {
    /// What it runs.
    pub roles: Vec<&'static str>,
    /// Its public port.
    pub port: u16,
    /// The port of its metrics.
    pub ops_port: u16,
    /// Where it logs.
    pub(crate) log: PathBuf,
    /// The program that it starts.
    pub binary: PathBuf,
    pub(crate) command: Arc<dyn Fn(&Path) -> Command + Send + Sync>,
    pub(crate) child: Option<Child>,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (port {})", self.roles.join("+"), self.port)
    }
}

impl Member {
    /// Returns whether this process runs the role.
    #[must_use]
    pub fn runs(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }

    /// Starts the process.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the process with more variables in its environment.
    pub fn start_with(&mut self, env: &[(&str, &str)]) {
        assert!(self.child.is_none(), "{self} runs already");
        let mut command = (self.command)(&self.binary);
        self.child = Some(command.envs(env.iter().copied()).spawn().unwrap());
    }

    /// Returns the exit status of a process that has ended without being asked to. It can then be
    /// started again.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Kills the process with `SIGKILL` and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends `SIGTERM` and waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.exit().await
    }

    /// Waits until the process ends.
    pub async fn exit(&mut self) -> ExitStatus {
        until(&format!("{self} ends"), async || {
            self.ended().ok_or("it still runs")
        })
        .await
    }

    /// Sends a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let id = child.id().to_string();
            // It fails if the process has ended meanwhile.
            let _ = Command::new("kill")
                .args([signal, &id])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Starts the process again if it has ended, as a service manager does. Returns its exit status
    /// unless it ended because a server was unavailable at its start.
    pub fn revive(&mut self) -> Option<ExitStatus> {
        let status = self.ended()?;
        self.start();
        (status.code() != Some(CANNOT_START)).then_some(status)
    }

    /// Waits until the process is ready, and starts it again if it ends. Returns the exit statuses
    /// of crashes.
    ///
    /// # Panics
    ///
    /// Panics with the end of its log if it is never ready.
    pub async fn ready(&mut self) -> Vec<ExitStatus> {
        let shop = Shop::at(&format!("http://127.0.0.1:{}", self.port)).unwrap();
        let mut crashes = Vec::new();
        until(&format!("{self} is ready"), async || {
            let answer = shop.ask(&Call::get("/readyz")).await;
            crashes.extend(self.revive());
            match answer {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{}{}", answer.status, self.end_of_log())),
                Err(why) => Err(format!("{why}{}", self.end_of_log())),
            }
        })
        .await;
        crashes
    }

    /// The last lines of its log.
    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(LOGGED);
        format!("; it logged:\n{}", lines[last..].join("\n"))
    }

    /// A figure of its memory in KiB, such as `RssAnon` (Linux, proc(5)).
    #[must_use]
    pub fn memory_kib(&self, field: &str) -> u64 {
        let id = self.child.as_ref().map_or(0, Child::id);
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| *name == field);
        let kib = found.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
