//! Ctrl-C and SIGTERM.

/// The signals that shut a process down gracefully.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// Makes sure that the signals that shut the process down arrive. The parent process may have
/// blocked them, and a program inherits that. Then the process executes the program once more,
/// which the standard library does with no signal blocked.
#[cfg(target_os = "linux")]
#[allow(
    clippy::disallowed_methods,
    reason = "the program, its arguments and its signals are the machine's"
)]
pub(super) fn unblock() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !blocks(&status) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut program = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    Err(program.args(arguments).exec()) // It returns only if it fails.
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unblock() -> std::io::Result<()> {
    Ok(())
}

/// Returns whether a process with this status blocks SIGINT (2) or SIGTERM (15).
#[cfg(target_os = "linux")]
fn blocks(status: &str) -> bool {
    let mut lines = status.lines();
    let blocked = lines.find_map(|line| line.strip_prefix("SigBlk:"));
    let blocked = blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    blocked.unwrap_or_default() & (1 << 1 | 1 << 14) != 0
}

impl Signals {
    /// Listens for the signals from now on.
    pub(super) fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Resolves at the first signal.
    #[cfg(unix)]
    pub(super) async fn first(mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Resolves at the first signal.
    #[cfg(not(unix))]
    pub(super) async fn first(self) {
        // Without a handler only a kill ends the process.
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn blocked_signals_are_found_in_the_status_of_a_process() {
        let status =
            |mask: &str| format!("Name:\tshop\nSigBlk:\t{mask}\nSigIgn:\t0000000000004002\n");
        assert!(blocks(&status("0000000000004000")));
        assert!(blocks(&status("fffffffe7ffbfeff")));
        assert!(!blocks(&status("0000000000000000")));
        assert!(!blocks(&status("0000000000000001")));
        assert!(!blocks(""));
    }
}
