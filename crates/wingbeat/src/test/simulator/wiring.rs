//! The wiring of a whole system: checked before the first lifetime, and the measure of coverage.

use std::collections::{BTreeMap, BTreeSet};

use wingbeat_core::{Error, Kind, Name, Result};

use super::System;
use super::world::World;
use crate::App;
use crate::saga::Outline;
use crate::service::Parts;

/// Everything that the processes of a system register.
#[derive(Default)]
pub(super) struct Wiring {
    /// Queues of handlers that are no sagas.
    pub(super) handlers: BTreeSet<Name>,
    pub(super) sagas: BTreeMap<Name, Outline>,
    pub(super) schedules: BTreeSet<(Name, &'static str)>,
    pub(super) calls: BTreeSet<&'static str>,
    /// Commands that a service says it sends, with one such service.
    sent: BTreeMap<&'static str, Name>,
    taken: BTreeSet<&'static str>,
}

impl Wiring {
    /// Makes the apps of a system's processes and checks them.
    ///
    /// # Errors
    ///
    /// `wiring`, with one line per finding.
    pub(super) fn of<S: System>(seed: u64) -> Result<Self> {
        let world = World::new(seed);
        let wiring = Self::of_system(&S::new(&world), &world);
        world.simulation().end();
        wiring
    }

    fn of_system(system: &impl System, world: &World) -> Result<Self> {
        let group = world.simulation().group();
        let ports = world.model().ports(&group, system.outside());
        let mut wiring = Self::default();
        for process in system.processes() {
            let app = (process.build)(&ports).allow_unknown_owners();
            app.check()?;
            wiring.add(&app);
        }
        wiring.check()?;
        Ok(wiring)
    }

    fn add(&mut self, app: &App) {
        app.running_parts()
            .for_each(|parts| self.add_service(parts));
    }

    fn add_service(&mut self, parts: &Parts) {
        let sagas = parts.sagas.iter().map(|saga| (saga.queue, saga.clone()));
        self.sagas.extend(sagas);
        for subscription in &parts.subscriptions {
            if !self.sagas.contains_key(&subscription.queue) {
                self.handlers.insert(subscription.queue);
            }
            let commands = subscription
                .bindings
                .iter()
                .filter(|it| it.kind == Kind::Command);
            self.taken.extend(commands.map(|it| it.message));
        }
        let schedules = parts.schedules.iter().map(|(name, ..)| (parts.name, *name));
        self.schedules.extend(schedules);
        self.calls.extend(parts.executors.iter().map(|it| it.name));
        let sent = parts.description.publishes.iter();
        let commands = sent.filter(|it| it.kind == Kind::Command);
        self.sent.extend(commands.map(|it| (it.name, parts.name)));
    }

    /// Refuses commands without a handler: no queue would take them, so the simulated system would
    /// never come to rest.
    fn check(&self) -> Result<()> {
        let unknown = self
            .sent
            .iter()
            .filter(|(command, _)| !self.taken.contains(*command));
        let findings: Vec<_> = unknown
            .map(|(command, service)| {
                format!(
                    "{service} sends {command}, but no process of the simulation handles it: add \
                     its service to `System::processes`"
                )
            })
            .collect();
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Error::reject("wiring", findings.join("\n")))
        }
    }
}
