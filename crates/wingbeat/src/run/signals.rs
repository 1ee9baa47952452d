//! Ctrl-C and SIGTERM.

/// Unblocks the signals that this thread inherited as blocked. Threads that it starts inherit that.
#[cfg(unix)]
pub(super) fn unblock() -> std::io::Result<()> {
    Ok(nix::sys::signal::SigSet::all().thread_unblock()?)
}

#[cfg(not(unix))]
pub(super) fn unblock() -> std::io::Result<()> {
    Ok(())
}

/// The signals that shut a process down gracefully.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
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
