//! Verification of all that services store: it can be decoded with this release, and what is
//! derived agrees with its source.
//!
//! `<program> verify` runs it for an operator, and [`App::verify`] in a test. It only reads, a page
//! at a time, so it may run beside processes that change the data: a record that changes meanwhile
//! is checked again.
//!
//! | Data | What is checked |
//! |---|---|
//! | entities | they can be decoded; the rows that they show are in the store |
//! | aggregates | the history has no gap, and its events can be decoded; the snapshot is what they fold to; the rows that they show are in the store |
//! | views | rows can be decoded |
//! | projections | rows and checkpoints are what the events up to the checkpoints fold to |
//! | sagas | their states can be decoded |
//! | timers, calls, parked deliveries | they can be decoded, and a subscription or an executor takes them |
//! | other records of the runtime | they can be decoded |
//!
//! Events behind the checkpoint of a projection do not count yet, so they are no defect. Its rows
//! are compared some thousand at a time, each time with all histories.
//!
//! Types that neither a handler nor a route extracts, and that `.stores(..)` does not name, are not
//! checked; neither are claims, messages in queues, and tables of a service's own.

mod parts;
mod projection;
mod walk;

use std::sync::Arc;

use wingbeat_core::store::{ServiceStore, Store};
use wingbeat_core::{Error, Name, Result};

use crate::App;

/// A step of a verification.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// The checks of a table go on. Comes after each page.
    Progress(Checked),
    /// All of a table was checked.
    Done(Checked),
    /// Something is wrong.
    Found(Defect),
    /// The rows of this table of a service are not compared, because a rebuild is still to write
    /// them for this release.
    Rebuilding(Name, Name),
}

/// The checks of one table so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The service.
    pub service: Name,
    /// `entity`, `aggregate`, `view`, `projection`, `saga`, or `runtime` for records of the runtime
    /// itself.
    pub kind: &'static str,
    /// The table or view; of a projection the view.
    pub table: Name,
    /// The number of records or rows that were checked.
    pub records: u64,
    /// The number of defects among them.
    pub defects: u64,
}

/// A stored record, event or row that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defect {
    /// The service.
    pub service: Name,
    /// As in [`Checked`].
    pub kind: &'static str,
    /// The table or view.
    pub table: Name,
    /// The id of the record, or the key of the row. For the checkpoint of a projection, the id of
    /// the aggregate.
    pub id: String,
    /// `undecodable`, `unknown_form`, `history_gap`, `snapshot_differs`, `row_differs`,
    /// `unknown_type`, `unknown_queue`, `unknown_call` or `panicked`; `docs/errors` explains it.
    pub code: &'static str,
    /// A description.
    pub text: String,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The number of records and rows that were checked.
    pub records: u64,
    /// The number of defects.
    pub defects: u64,
}

impl App {
    /// Verifies all that the chosen services ([`run_only`](Self::run_only)) store; see
    /// [`verify`](crate::verify). Calls `observe` for each page, table and defect.
    ///
    /// It changes nothing, and its memory does not grow with the data. The store must have been
    /// [prepared](Store::prepare), or [inspected](Store::inspect), for these services.
    ///
    /// ```
    /// use wingbeat::verify::Step;
    /// use wingbeat::{App, Service};
    ///
    /// let app = App::new().service(Service::new("bookings"));
    /// # #[cfg(feature = "test")]
    /// # {
    /// # let simulation = wingbeat::test::Simulation::new(1);
    /// # let store = wingbeat::test::Model::new(simulation.runtime()).store;
    /// let verified = app.verify(store, |step| {
    ///     if let Step::Found(defect) = step {
    ///         println!("{} {}: {}", defect.table, defect.id, defect.text);
    ///     }
    /// });
    /// # let verified = simulation.run(verified);
    /// assert_eq!(verified.unwrap().defects, 0);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors), which ends the verification.
    pub async fn verify(
        &self,
        store: Arc<dyn Store>,
        mut observe: impl FnMut(Step) + Send,
    ) -> Result<Summary> {
        let mut summary = Summary::default();
        for wiring in self.chosen() {
            let store = ServiceStore::new(Arc::clone(&store), wiring.name);
            let pending = crate::rebuild::pending(&store, &wiring.tables).await?;
            for table in &pending {
                observe(Step::Rebuilding(wiring.name, *table));
            }
            for part in parts::of(wiring) {
                let checked = part.walk(&store, &pending, &mut observe).await?;
                summary.records += checked.records;
                summary.defects += checked.defects;
                observe(Step::Done(checked));
            }
        }
        Ok(summary)
    }
}

impl Checked {
    /// Counts and reports a defect.
    fn report(&mut self, id: &str, why: &Error, observe: &mut impl FnMut(Step)) {
        self.defects += 1;
        observe(Step::Found(self.defect(id, why)));
    }

    fn defect(&self, id: &str, why: &Error) -> Defect {
        Defect {
            service: self.service,
            kind: self.kind,
            table: self.table,
            id: id.to_owned(),
            code: why.code(),
            text: why.to_string(),
        }
    }
}
