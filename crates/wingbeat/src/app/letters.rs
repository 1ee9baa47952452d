//! The dead letters of a running app.

use std::collections::BTreeMap;

use uuid::Uuid;
use wingbeat_core::store::Position;
use wingbeat_core::{Error, Name, Result};

use super::running::Running;
use crate::contracts::misfit;
use crate::failed::{
    self, Action, DeadLetter, Decision, Incident, Incidents, Redrive, Selection, Summary,
};

impl Running {
    /// Counts the parked deliveries of a service by queue.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn parked(&self, service: Name) -> Result<BTreeMap<Name, u64>> {
        match self.incidents(service) {
            Some(incidents) => incidents.parked().await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// Returns all dead letters of a service that were not discarded, by id. There may be many:
    /// use [`dead_letter_page`](Self::dead_letter_page) outside tests.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn dead_letters(&self, service: Name) -> Result<Vec<DeadLetter>> {
        match self.incidents(service) {
            Some(incidents) => incidents.dead_letters().await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns at most `limit` dead letters of a service that were not discarded, in the order of
    /// their ids, starting after the id `after`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn dead_letter_page(
        &self,
        service: Name,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        match self.incidents(service) {
            Some(incidents) => incidents.page(after, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the dead letter with this id, unless it was discarded.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn dead_letter(&self, service: Name, id: Uuid) -> Result<Option<DeadLetter>> {
        match self.incidents(service) {
            Some(incidents) => incidents.dead_letter(id).await,
            None => Ok(None),
        }
    }

    /// Delivers a dead letter to its subscription again. Returns `false` if there is none with this
    /// id.
    ///
    /// # Errors
    ///
    /// `undecodable` if its message cannot be decoded; `unknown_subscription` if its subscription
    /// does not run here; `overloaded`, `contended` or `stopped` from
    /// [`run_unit`](crate::run_unit); a [store error](crate::Reads#store-errors).
    pub async fn retry_dead_letter(&self, service: Name, id: Uuid) -> Result<bool> {
        self.retry_dead_letter_as(service, id, &Decision::default())
            .await
    }

    /// Discards a dead letter. Returns `false` if there is none with this id.
    ///
    /// # Errors
    ///
    /// `overloaded`, `contended` or `stopped` from [`run_unit`](crate::run_unit); a [store
    /// error](crate::Reads#store-errors).
    pub async fn discard_dead_letter(&self, service: Name, id: Uuid) -> Result<bool> {
        self.discard_dead_letter_as(service, id, &Decision::default())
            .await
    }

    /// Delivers a dead letter to its subscription again, and records who decided that.
    ///
    /// # Errors
    ///
    /// As for [`retry_dead_letter`](Self::retry_dead_letter).
    pub async fn retry_dead_letter_as(
        &self,
        service: Name,
        id: Uuid,
        by: &Decision,
    ) -> Result<bool> {
        let runs_here = |queue| self.subscriptions.iter().any(|it| it.queue == queue);
        match self.incidents(service) {
            Some(incidents) => incidents.retry(id, runs_here, by).await,
            None => Ok(false),
        }
    }

    /// Discards a dead letter, and records who decided that.
    ///
    /// # Errors
    ///
    /// As for [`discard_dead_letter`](Self::discard_dead_letter).
    pub async fn discard_dead_letter_as(
        &self,
        service: Name,
        id: Uuid,
        by: &Decision,
    ) -> Result<bool> {
        match self.incidents(service) {
            Some(incidents) => incidents.discard(id, ("discard", by)).await,
            None => Ok(false),
        }
    }

    /// Replaces the body of a dead letter's message. It must fit the schema of its type. Returns
    /// `false` if there is none with this id.
    ///
    /// # Errors
    ///
    /// `unknown_type` if the service takes no message of this type; `misfit` if the body does not
    /// fit; `not_editable` if the body is encrypted or stored outside the message, or if its
    /// signature was not verified; otherwise as for
    /// [`retry_dead_letter`](Self::retry_dead_letter).
    pub async fn edit_dead_letter(
        &self,
        service: Name,
        id: Uuid,
        body: &serde_json::Value,
        by: &Decision,
    ) -> Result<bool> {
        let (Some(incidents), Some(letter)) = (
            self.incidents(service),
            self.dead_letter(service, id).await?,
        ) else {
            return Ok(false);
        };
        let mut types = self.schemas.get(&service).into_iter().flatten();
        let Some(of) = types.find(|it| it.name == letter.kind) else {
            let text = format!("no subscription here takes `{}`", letter.kind);
            return Err(Error::reject("unknown_type", text));
        };
        if let Some(why) = misfit(of, body) {
            return Err(Error::reject("misfit", why));
        }
        incidents.edit(id, &crate::encode(body), by).await
    }

    /// Returns the groups of dead letters of a service, the largest first. New dead letters appear
    /// within about a second.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn incidents_of(&self, service: Name) -> Result<Vec<Incident>> {
        match self.services.get(&service) {
            Some(service) => failed::groups(&service.store).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns a page of the dead letters of a group, in the order of their ids, and the position
    /// after which the next page starts.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn incident_letters(
        &self,
        service: Name,
        group: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<Position>)> {
        match self.services.get(&service) {
            Some(service) => failed::letters(&service.store, group, after, limit).await,
            None => Ok((Vec::new(), None)),
        }
    }

    /// Begins to handle dead letters of a service again: the first one alone, and if it succeeds,
    /// the others at the rate of the selection. It stops when one fails again. Any replica
    /// continues it after a restart. Returns `None` if the service does not run here.
    ///
    /// ```
    /// use wingbeat::app::{Decision, Selection};
    /// # use wingbeat::{Name, Result, Running};
    ///
    /// async fn retry_refused(running: &Running, orders: Name) -> Result<()> {
    ///     let mut selection = Selection::default();
    ///     selection.reason = Some("card_refused".into());
    ///     selection.rate = 500;
    ///     let by = Decision::by("ada").because("the bank has mended its API");
    ///     running.redrive(orders, selection, &by).await.map(drop)
    /// }
    /// # drop(retry_refused);
    /// ```
    ///
    /// # Errors
    ///
    /// `bad_selection` if a number is out of bounds; `too_many_redrives` if 16 are in progress;
    /// `overloaded`, `contended` or `stopped` from [`run_unit`](crate::run_unit); a [store
    /// error](crate::Reads#store-errors).
    pub async fn redrive(
        &self,
        service: Name,
        selection: Selection,
        by: &Decision,
    ) -> Result<Option<Redrive>> {
        match self.redrives.get(&service) {
            Some(redrives) => redrives.begin(selection, by).await.map(Some),
            None => Ok(None),
        }
    }

    /// Stops a redrive. Returns `false` if none with this id is in progress.
    ///
    /// # Errors
    ///
    /// `overloaded`, `contended` or `stopped` from [`run_unit`](crate::run_unit); a [store
    /// error](crate::Reads#store-errors).
    pub async fn cancel_redrive(&self, service: Name, id: Uuid, by: &Decision) -> Result<bool> {
        match self.redrives.get(&service) {
            Some(redrives) => redrives.cancel(id, by).await,
            None => Ok(false),
        }
    }

    /// Returns the redrives of a service of the last 30 days, at most 200, the oldest first.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn redrives_of(&self, service: Name) -> Result<Vec<Redrive>> {
        match self.redrives.get(&service) {
            Some(redrives) => redrives.all().await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the latest actions on dead letters and subscriptions of a service, the latest first.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn actions(&self, service: Name, limit: usize) -> Result<Vec<Action>> {
        match self.services.get(&service) {
            Some(service) => failed::latest_actions(&service.store, limit).await,
            None => Ok(Vec::new()),
        }
    }

    fn incidents(&self, service: Name) -> Option<Incidents<'_>> {
        let service = self.services.get(&service)?;
        Some(Incidents { service })
    }
}
