//! The exchanges to partitions, the queues without bindings to message types.

use std::collections::BTreeSet;

use wingbeat_core::{Kind, Topology};

use super::{Names, service};

/// The prefix of the exchange for events to the partitions of a service. Each service has its own,
/// since only its own processes put messages into them.
const EVENTS: &str = "wingbeat.partitions.";
/// The prefix of the exchange for commands to the partitions of a service. The exchange decides
/// what a message is.
const COMMANDS: &str = "wingbeat.partition-commands.";

impl Names {
    /// Returns the exchange to the partitions of a service; their names are its routing keys.
    pub(crate) fn partitions(&self, service: &str, kind: Kind) -> String {
        let prefix = match kind {
            Kind::Event => EVENTS,
            Kind::Command => COMMANDS,
        };
        format!("{}{prefix}{service}", self.namespace)
    }

    /// Returns what the messages of an exchange are; `None` for an exchange of others.
    pub(crate) fn kind_of(&self, exchange: &str) -> Option<Kind> {
        let own = self.without_namespace(exchange);
        if exchange == self.events || own.starts_with(EVENTS) {
            return Some(Kind::Event);
        }
        let is_command = exchange == self.commands || exchange == self.replies;
        (is_command || own.starts_with(COMMANDS)).then_some(Kind::Command)
    }
}

/// Returns the services that have queues without bindings.
pub(crate) fn with_partitions(topology: &Topology) -> BTreeSet<&'static str> {
    let queues = topology.queues.iter();
    let partitions = queues.filter(|(_, queue)| queue.bindings.is_empty());
    partitions.map(|(name, _)| service(*name)).collect()
}
