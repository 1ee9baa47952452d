//! Runs the commands of an operator, and the report at start-up, on connections of their own.
//!
//! RabbitMQ closes the whole connection if a quorum queue does not reply in time
//! (`INTERNAL_ERROR`), and commands ask many queues. On a connection of the process, such an error
//! would end all its consumers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _, Topology};

use crate::access::Access;
use crate::connection::{BrokerConnection, timed_out};
use crate::operate::Operator;
use crate::topology::Names;

/// The time limit of one report. A start waits for the first one, and does without its result.
const REPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// The number of attempts to report.
const REPORTS: u32 = 5;
/// The pause after the first failed report. It doubles with each failure, and up to its own length
/// is added at random: processes that start together disturb each other.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// Opens the connections of commands.
pub(crate) struct Commands {
    pub(crate) opener: Arc<BrokerConnection>,
    /// The connection on which the process publishes, which shows a memory or disk alarm.
    pub(crate) publishing: Arc<BrokerConnection>,
    pub(crate) names: Names,
    pub(crate) timeout: Duration,
    pub(crate) runtime: SharedRuntime,
}

impl Commands {
    /// Runs a command, and closes its connections.
    pub(crate) async fn run<T>(
        &self,
        command: impl AsyncFnOnce(&Operator) -> Result<T>,
    ) -> Result<T> {
        let (opener, names) = (Arc::clone(&self.opener), self.names.clone());
        let operator = Operator(Access::open(opener, names, self.timeout).await?);
        let result = command(&operator).await;
        operator.0.close().await;
        result
    }

    /// Registers the queues, and warns of queues that no subscription has any more. If that fails,
    /// a task repeats it a few times.
    pub(crate) async fn report(self: &Arc<Self>, topology: &Topology) {
        if let Err(why) = self.try_report(topology).await {
            let (commands, runtime) = (Arc::downgrade(self), Arc::clone(&self.runtime));
            let again = report_again(commands, runtime, topology.clone(), why);
            drop(tokio::spawn(again));
        }
    }

    async fn try_report(&self, topology: &Topology) -> Result<()> {
        let is_blocked = self.publishing.is_blocked();
        let report = async |operator: &Operator| operator.report(topology, is_blocked).await;
        let reported = tokio::time::timeout(REPORT_TIMEOUT, self.run(report)).await;
        reported.unwrap_or_else(|_| Err(timed_out()))
    }
}

/// Repeats a failed report until it succeeds, the transport ends, or all attempts have failed.
async fn report_again(
    commands: Weak<Commands>,
    runtime: SharedRuntime,
    topology: Topology,
    mut why: Error,
) {
    let mut pause = REPORT_PAUSE;
    for _ in 1..REPORTS {
        tracing::debug!(code = why.code(), "the register of queues: {why}");
        tokio::time::sleep(pause + runtime.jitter(pause)).await;
        pause *= 2;
        let Some(commands) = commands.upgrade() else {
            return;
        };
        match commands.try_report(&topology).await {
            Ok(()) => return,
            Err(next) => why = next,
        }
    }
    tracing::warn!(
        code = "topology_unregistered",
        cause = why.code(),
        "cannot look for queues without a subscription: {why}; if queues were added or renamed, \
         run `topology apply`"
    );
}
