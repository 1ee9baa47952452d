//! Messages into queues, and the queues themselves.

use rusqlite::params;
use wingbeat_core::transport::Refused;
use wingbeat_core::{Envelope, Name, Topology};

use super::Batch;
use crate::broker::{UNROUTABLE, read_page};
use crate::names::{NONE, Space};
use crate::queue::before_first;

impl Batch<'_> {
    /// Queues a message of a unit. A command that no queue takes is kept until one does.
    pub(super) fn send(&mut self, message: &Envelope) -> rusqlite::Result<()> {
        match self.shared.broker.route(message) {
            Some(queues) => self.queue(&queues, message),
            None => {
                tracing::error!(kind = %message.kind, id = %message.id, "no queue takes this command; it is kept");
                let kept = self.shared.names.number(Space::Queue, NONE, UNROUTABLE);
                self.queue(&[kept], message)
            }
        }
    }

    pub(in crate::writer) fn publish(
        &mut self,
        messages: &[Envelope],
    ) -> rusqlite::Result<Vec<std::result::Result<(), Refused>>> {
        let mut publish = |message: &Envelope| match self.shared.broker.route(message) {
            Some(queues) => self.queue(&queues, message).map(Ok),
            None => Ok(Err(Refused::Unroutable)),
        };
        messages.iter().map(&mut publish).collect()
    }

    pub(super) fn queue(&mut self, queues: &[u32], message: &Envelope) -> rusqlite::Result<()> {
        if queues.is_empty() {
            return Ok(());
        }
        let body = message.encode();
        for queue in queues {
            let broker = &self.shared.broker;
            let row = self
                .rows
                .entry(*queue)
                .or_insert_with(|| broker.last(*queue));
            *row += 1;
            self.connection
                .prepare_cached("INSERT INTO queue(id, body) VALUES(?1, ?2)")?
                .execute(params![*row as i64, &body[..]])?;
            self.effects
                .queued
                .push((*row, message.clone(), body.len()));
        }
        self.effects.wrote = true;
        Ok(())
    }

    /// Makes names and routes; commands that were kept because no queue took them go to theirs.
    pub(in crate::writer) fn declare(
        &mut self,
        services: &[Name],
        topology: &Topology,
    ) -> rusqlite::Result<()> {
        for service in services {
            self.service(*service);
        }
        // Routes are needed at once to place what was kept; nothing is lost if the commit fails.
        self.shared.broker.declare(&self.shared.names, topology);
        let kept = self.shared.names.number(Space::Queue, NONE, UNROUTABLE);
        for message in read_page(self.connection, before_first(kept), usize::MAX >> 1)? {
            if let Ok(envelope) = &message.delivery.envelope
                && let Some(queues) = self.shared.broker.route(envelope)
            {
                self.queue(&queues, envelope)?;
                self.delete_row(message.row)?;
            }
        }
        self.effects.wrote = true;
        Ok(())
    }
}
