//! Queues messages, and declares the queues.

use rusqlite::params;
use wingbeat_core::transport::Refused;
use wingbeat_core::{Dialog, Envelope, Name, Topology};

use super::Batch;
use crate::broker::{NO_ROW, UNROUTABLE};
use crate::names::{NONE, Space};
use crate::queue::before_first;
use crate::reads;

impl Batch<'_> {
    /// Queues a message of a unit. A command that no queue is bound to is kept until one is.
    pub(super) fn send(&mut self, message: &Envelope) -> rusqlite::Result<()> {
        if let Some(Dialog::Reply { .. }) = &message.dialog {
            self.reply(message);
            return Ok(());
        }
        if let Some(queues) = self.shared.broker.route(message) {
            return self.queue(&queues, message);
        }
        tracing::error!(
            kind = %message.kind,
            id = %message.id,
            "no queue is bound to this command: keeping it until a service declares one"
        );
        let unroutable = self.unroutable();
        self.queue(&[unroutable], message)
    }

    /// Queues messages that are published without a unit.
    pub(in crate::writer) fn publish(
        &mut self,
        messages: &[Envelope],
    ) -> rusqlite::Result<Vec<std::result::Result<(), Refused>>> {
        let mut publish = |message: &Envelope| match &message.dialog {
            Some(Dialog::Reply { to }) if self.shared.broker.replies.has(to) => {
                self.reply(message);
                Ok(Ok(()))
            }
            Some(Dialog::Reply { .. }) => Ok(Err(Refused::Unroutable)),
            _ => match self.shared.broker.route(message) {
                Some(queues) => self.queue(&queues, message).map(Ok),
                None => Ok(Err(Refused::Unroutable)),
            },
        };
        messages.iter().map(&mut publish).collect()
    }

    /// Puts messages into one queue, whatever their types are.
    pub(in crate::writer) fn forward(
        &mut self,
        queue: Name,
        messages: &[Envelope],
    ) -> rusqlite::Result<Vec<std::result::Result<(), Refused>>> {
        let number = self.shared.names.find_queue(queue);
        let number = number.filter(|number| self.shared.broker.queue(*number).is_some());
        let Some(number) = number else {
            return Ok(vec![Err(Refused::Unroutable); messages.len()]);
        };
        let mut forward = |message| self.queue(&[number], message).map(Ok);
        messages.iter().map(&mut forward).collect()
    }

    /// Adds a reply. It has no row, since its queue is in memory only.
    fn reply(&mut self, message: &Envelope) {
        self.effects.queued.push((NO_ROW, message.clone(), 0));
    }

    fn queue(&mut self, queues: &[u32], message: &Envelope) -> rusqlite::Result<()> {
        if queues.is_empty() {
            return Ok(());
        }
        let body = message.encode();
        for queue in queues {
            let broker = &self.shared.broker;
            let row = self
                .last_rows
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

    /// Declares services and queues. Moves kept commands to queues that are bound to them now.
    pub(in crate::writer) fn declare(
        &mut self,
        services: &[Name],
        topology: &Topology,
    ) -> rusqlite::Result<()> {
        for service in services {
            self.shared.service(*service);
        }
        // The routes take effect before the commit, since kept commands need them. If the commit
        // fails, the caller declares them again.
        self.shared.broker.declare(&self.shared.names, topology);
        let unroutable = before_first(self.unroutable());
        for message in reads::queue_page(self.connection, unroutable, usize::MAX >> 1)? {
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

    fn unroutable(&self) -> u32 {
        self.shared.names.intern(Space::Queue, NONE, UNROUTABLE)
    }
}
