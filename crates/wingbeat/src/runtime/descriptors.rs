//! The share of the process's file descriptors that connections may use.
//!
//! A process that runs out of descriptors cannot open files or connections of its own: orders that
//! it has accepted stay unpaid. So clients never get all of them.

/// Descriptors for files, servers and everything else that is not a client or an outside system.
const RESERVE: u64 = 64;
/// The limit that the process asks for, if the system allows it. Many systems start processes with
/// 1,024 for the sake of programs that use `select`.
const WANTED: u64 = 65_536;

/// The number of connections that a process can afford.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients. Each may need a second one: to a service, or to an outside system.
    pub(crate) clients: usize,
    /// Concurrent requests to outside systems. Where such a system runs in this process, each needs
    /// two descriptors.
    pub(crate) outgoing: usize,
}

impl Descriptors {
    /// Returns the share for a process with this limit.
    const fn of_limit(limit: u64) -> Self {
        let limit = if limit > WANTED { WANTED } else { limit };
        let left = limit.saturating_sub(RESERVE);
        Self {
            clients: at_least(left / 2, 8),
            outgoing: at_least(left / 8, 4),
        }
    }

    /// Returns the share of this process. Raises the limit first.
    #[cfg(unix)]
    pub(crate) fn of_process() -> Self {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let Ok((current, maximum)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self::of_limit(WANTED);
        };
        let wanted = maximum.min(WANTED);
        if current >= wanted {
            return Self::of_limit(current);
        }
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, maximum).is_ok();
        Self::of_limit(if raised { wanted } else { current })
    }

    /// Returns the share of this process.
    #[cfg(not(unix))]
    pub(crate) fn of_process() -> Self {
        Self::of_limit(WANTED)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "at most `WANTED`")]
const fn at_least(count: u64, least: usize) -> usize {
    if (count as usize) < least {
        least
    } else {
        count as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_calls_leave_descriptors_for_the_process_itself() {
        for limit in [128, 256, 1_024, 20_000, 65_536, u64::MAX] {
            let Descriptors { clients, outgoing } = Descriptors::of_limit(limit);
            let used = clients + 2 * outgoing;
            let left = usize::try_from(limit).unwrap_or(usize::MAX) - used;
            assert!(left >= 64, "{limit}: {clients} and {outgoing}");
            assert!(clients >= 32 && outgoing >= 8, "{limit}");
        }
    }
}
