//! The queues that exist with other properties than the topology declares, as this process knows
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use wingbeat_core::{Error, HashSet, Name, Result, Topology};

use crate::topology::{DeclaredQueue, Differing, Names};

/// The queues that differ.
#[derive(Default)]
pub(crate) struct Differences {
    /// By their names on the broker.
    found: RwLock<BTreeMap<String, Differing>>,
    /// The services that run in this process.
    own: RwLock<BTreeSet<Name>>,
}

impl Differences {
    /// Remembers which of the declared queues differ.
    pub(crate) fn replace(&self, declared: &[DeclaredQueue], differing: Vec<Differing>) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        for queue in declared {
            found.remove(&queue.name);
        }
        for queue in differing {
            tracing::debug!("{}", queue.error());
            found.insert(queue.queue.clone(), queue);
        }
    }

    /// Checks the queues of services that run in this process.
    pub(crate) fn check_services(&self, services: &[Name]) -> Result<()> {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.extend(services);
        drop(own);
        self.check(|it| {
            services
                .iter()
                .any(|service| service.as_str() == it.service)
        })
    }

    /// Checks the queues of all services that run in this process.
    pub(crate) fn check_own(&self) -> Result<()> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        self.check(|it| own.iter().any(|service| service.as_str() == it.service))
    }

    /// Checks one queue.
    pub(crate) fn check_queue(&self, name: &str) -> Result<()> {
        self.check(|it| it.queue == name)
    }

    fn check(&self, concerns: impl Fn(&Differing) -> bool) -> Result<()> {
        let found = self.found();
        let of_concern = found.values().filter(|it| concerns(it));
        let errors: Vec<Error> = of_concern.map(Differing::error).collect();
        match errors.first() {
            None => Ok(()),
            Some(first) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(Error::reject(first.code(), texts.join("; ")))
            }
        }
    }

    /// Returns the types of the messages that a queue with other properties would not keep.
    pub(crate) fn held_types(&self, names: &Names, topology: &Topology) -> HashSet<&'static str> {
        let found = self.found();
        if found.is_empty() {
            return HashSet::default();
        }
        let loses = |name: &Name| {
            let queue = found.get(&names.queue(*name));
            queue.is_some_and(|it| !it.is_durable)
        };
        let queues = topology.queues.iter().filter(|(name, _)| loses(name));
        let bindings = queues.flat_map(|(_, queue)| &queue.bindings);
        bindings.map(|binding| binding.message).collect()
    }

    fn found(&self) -> RwLockReadGuard<'_, BTreeMap<String, Differing>> {
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }
}
