//! The wiring of a whole system. The simulator checks it before the first lifetime and compares the
//! coverage with it.

use std::collections::{BTreeMap, BTreeSet};

use wingbeat_core::{Error, Kind, Name, Result};

use super::System;
use super::world::World;
use crate::App;
use crate::saga::Outline;
use crate::service::Wiring;

/// The handlers, sagas, schedules and calls of all processes of a system.
#[derive(Default)]
pub(super) struct SystemWiring {
    /// The queues of handlers, without those of sagas.
    pub(super) handlers: BTreeSet<Name>,
    pub(super) sagas: BTreeMap<Name, Outline>,
    pub(super) schedules: BTreeSet<(Name, &'static str)>,
    pub(super) calls: BTreeSet<&'static str>,
    /// The commands that services declare to send, each with one such service.
    sent: BTreeMap<&'static str, Name>,
    /// The commands that a handler subscribes to.
    handled: BTreeSet<&'static str>,
}

impl SystemWiring {
    /// Creates the apps of a system's processes and checks them.
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
        app.chosen().for_each(|wiring| self.add_service(wiring));
    }

    fn add_service(&mut self, wiring: &Wiring) {
        let sagas = wiring.sagas.iter().map(|saga| (saga.queue, saga.clone()));
        self.sagas.extend(sagas);
        for subscription in &wiring.subscriptions {
            if !self.sagas.contains_key(&subscription.queue) {
                self.handlers.insert(subscription.queue);
            }
            let commands = subscription
                .bindings
                .iter()
                .filter(|it| it.kind == Kind::Command);
            self.handled.extend(commands.map(|it| it.message));
        }
        let schedules = wiring.schedules.iter().map(|it| it.name);
        let schedules = schedules.chain(wiring.polls.iter().map(|it| it.name));
        let schedules = schedules.map(|name| (wiring.name, name));
        self.schedules.extend(schedules);
        self.calls.extend(wiring.executors.iter().map(|it| it.name));
        let sent = wiring.description.publishes.iter();
        let commands = sent.filter(|it| it.kind == Kind::Command);
        self.sent.extend(commands.map(|it| (it.name, wiring.name)));
    }

    /// Refuses commands without a handler: their messages would never leave the outbox, so the
    /// system would never become idle.
    fn check(&self) -> Result<()> {
        let unknown = self
            .sent
            .iter()
            .filter(|(command, _)| !self.handled.contains(*command));
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
