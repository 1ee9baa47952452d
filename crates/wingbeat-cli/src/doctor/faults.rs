//! The faults that `doctor` knows, in the order of their importance.

/// The severity of a finding, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Work has stopped, or requests are refused.
    Critical,
    /// Some work does not go on.
    Error,
    /// Nothing is lost yet.
    Warning,
    /// Worth knowing; not a fault.
    Note,
}

impl Severity {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A kind of fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its code, for programs.
    pub name: &'static str,
    /// Its usual severity.
    pub severity: Severity,
    /// The meaning of the fault.
    pub meaning: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

/// Defines each fault as a constant, and the list of all of them.
macro_rules! faults {
    ($($constant:ident $name:literal $severity:ident $meaning:literal $remedy:literal)*) => {
        $(pub(super) static $constant: Fault = Fault {
            name: $name,
            severity: Severity::$severity,
            meaning: $meaning,
            remedy: $remedy,
        };)*

        /// All faults, the most important first among those of one severity.
        pub static FAULTS: &[&Fault] = &[$(&$constant),*];
    };
}

faults! {
    PROCESS_UNREACHABLE "process_unreachable" Critical
        "No process answers on the operator's port, so nothing is known."
        "Check that it runs and that --url names its operator's port (--ops-listen)."
    ACCESS_REFUSED "access_refused" Error
        "The process refuses the operator's API to this caller, so nothing is known about it."
        "Set WINGBEAT_OPS_TOKEN to the token of the process, or ask from its own machine."
    STORE_DOWN "store_down" Critical
        "Nothing can be committed: requests fail, and messages wait in their queues."
        "Restore the store. Work continues by itself; docs/distributed.md tells what to expect."
    BROKER_DOWN "broker_down" Critical
        "Messages are not delivered. Commits go on, and messages wait in the outbox."
        "Restore the broker, or end its memory or disk alarm. The relay then publishes what waits."
    DISK_NEARLY_FULL "disk_nearly_full" Critical
        "A full disk closes the intake: new requests are refused."
        "Free space or enlarge the volume; raise --overload-disk only if the mark is wrong."
    OVERLOADED "overloaded" Critical
        "Requests of low priority are refused, so that accepted work is finished."
        "Add replicas or memory, or find what is slow; GET /ops/overload shows the readings."
    NOT_READY "not_ready" Error
        "The process gets no requests: it starts, drains, or a server is unavailable."
        "If it lasts, read its log; `<program> ready` says why on its machine."
    REPLICA_MISSING "replica_missing" Error
        "Fewer processes answer than there should be. The others carry the load."
        "Start the missing process, and read why it ended."
    QUEUE_WITHOUT_CONSUMER "queue_without_consumer" Error
        "No process consumes the queue: its messages wait, and the queue grows."
        "Run a process of this service, or resume the subscription."
    TOPOLOGY_WRONG "topology_wrong" Error
        "A queue of the broker is missing or differs from its subscription."
        "Run `<program> topology plan`, then `apply` or `migrate`."
    OUTBOX_STUCK "outbox_stuck" Error
        "Committed messages are not published."
        "Check the broker and the log of the relay; look for unroutable messages."
    UNROUTABLE "unroutable" Error
        "No queue takes messages of this type. They wait in the outbox."
        "Run `<program> topology apply`, or deploy the service that handles the type."
    DEAD_LETTERS "dead_letters" Error
        "Messages failed for good. Their effects are missing until a person decides."
        "`wingbeat dead-letters show ID`; mend the cause, then `retry`, or `discard`."
    PARKED_TOO_OLD "parked_too_old" Error
        "Parked deliveries are due and are not tried again."
        "Check that the service runs, is not paused, and reaches its store."
    WORK_OVERDUE "work_overdue" Error
        "Timers, calls or delayed messages are due and do not run."
        "Check that a process of the service runs, and that its subscriptions are not paused."
    BREAKER_OPEN "breaker_open" Error
        "An outside system fails. Calls to it wait until its circuit breaker closes."
        "Check the outside system. The breaker probes it and closes by itself."
    SCHEDULE_OVERDUE "schedule_overdue" Error
        "A planned run did not happen."
        "Check that a process of the service runs and reaches its store; read its log."
    SCHEDULE_FAILED "schedule_failed" Warning
        "The last run of a schedule failed or was skipped."
        "Read the log of the service; the next run is planned all the same."
    REBUILD_STUCK "rebuild_stuck" Error
        "Index rows are not rebuilt: lists by the new columns are refused."
        "Read the failure: a stored record cannot be read by this release (docs/evolution.md)."
    REPLAY_STUCK "replay_stuck" Error
        "A subscription from the beginning gets no events of the past, and handles nothing else."
        "Read the failure; check that the subscriber runs (docs/evolution.md)."
    OLD_VERSION_WAITING "old_version_waiting" Warning
        "Deliveries wait for a process of another release, which can read them."
        "Finish the rollout; if no such release runs any more, see docs/evolution.md."
    CLOCK_OFF "clock_off" Error
        "The clock of the process differs from this one. Timers and schedules are early or late."
        "Check the time synchronization of both machines."
    CACHE_DOWN "cache_down" Warning
        "Sessions, claims and shared rate limits are unavailable; reads go to the store."
        "Restore the cache. Nothing durable is in it."
    LAG_GROWING "lag_growing" Warning
        "Messages arrive faster than they are handled."
        "Find what is slow (wingbeat_messaging_process_duration_seconds), or add replicas."
    SUBSCRIPTION_PAUSED "subscription_paused" Warning
        "Somebody paused the subscription. Its messages wait."
        "`wingbeat subscriptions resume SERVICE.NAME` once the reason is gone."
    SCHEDULE_PAUSED "schedule_paused" Warning
        "Somebody paused the schedule. Its planned times pass without a run."
        "`wingbeat schedules resume SERVICE.NAME` once the reason is gone."
    RATE_LIMITED "rate_limited" Warning
        "The subscription handles no more than its rate allows, and messages wait for it."
        "Expected after a burst. If it lasts, raise the rate of the handler."
    QUEUE_ORPHANED "queue_orphaned" Warning
        "No subscription has the queue any more. Nobody reads what is in it."
        "`<program> topology prune` deletes it once it is empty."
    PART_MISSING "part_missing" Warning
        "A part of the operator's API did not answer, so faults of this part go unnoticed."
        "Ask again. An app of an earlier release may not have the part: update it."
}
