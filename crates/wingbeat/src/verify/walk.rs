//! The walk over one table or view, a page at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use wingbeat_core::store::{Query, Select, ServiceStore};
use wingbeat_core::{Error, Name, Record, Result};

use super::{Checked, Step, projection};
use crate::state::{CheckRecord, CheckRow, Projecting, settled};

/// The records that are read at once.
const PAGE: usize = 64;
/// The records that are compared with other data at the same time.
const CONCURRENT: usize = 4;

/// A table or view, with the check of its records or rows.
pub(super) struct Part {
    pub(super) kind: &'static str,
    pub(super) table: Name,
    pub(super) check: Check,
}

pub(super) enum Check {
    Records(CheckRecord),
    Rows(CheckRow),
    Projection(Arc<dyn Projecting>),
}

impl Part {
    pub(super) fn records(kind: &'static str, table: Name, check: CheckRecord) -> Self {
        let check = Check::Records(check);
        Self { kind, table, check }
    }

    /// Checks all records or rows.
    pub(super) async fn walk(
        &self,
        store: &ServiceStore,
        pending: &BTreeSet<Name>,
        observe: &mut (impl FnMut(Step) + Send),
    ) -> Result<Checked> {
        let mut checked = Checked {
            service: store.service(),
            kind: self.kind,
            table: self.table,
            records: 0,
            defects: 0,
        };
        match &self.check {
            Check::Records(check) => {
                let is_pending = pending.contains(&self.table);
                records(store, check, is_pending, &mut checked, observe).await?;
            }
            Check::Rows(check) => rows(store, *check, &mut checked, observe).await?,
            Check::Projection(it) => projection::rows(store, &**it, &mut checked, observe).await?,
        }
        Ok(checked)
    }
}

async fn records(
    store: &ServiceStore,
    check: &CheckRecord,
    is_pending: bool,
    checked: &mut Checked,
    observe: &mut (impl FnMut(Step) + Send),
) -> Result<()> {
    let mut after = None;
    loop {
        let page = store.scan(checked.table, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(id, _)| id.clone());
        checked.records += page.len() as u64;
        for (id, found) in found_among(store, check, checked.table, page).await? {
            for why in found {
                // A rebuild is still to write them.
                if !(is_pending && why.code() == "row_differs") {
                    checked.report(&id, &why, observe);
                }
            }
        }
        if is_last {
            return Ok(());
        }
        observe(Step::Progress(checked.clone()));
    }
}

async fn found_among(
    store: &ServiceStore,
    check: &CheckRecord,
    table: Name,
    page: Vec<(String, Record)>,
) -> Result<Vec<(String, Vec<Error>)>> {
    let checks = page.into_iter().map(|(id, record)| {
        let (store, check) = (store.clone(), Arc::clone(check));
        async move {
            let found = settled(&check, &store, table, (id.clone(), record)).await?;
            Ok::<_, Error>((id, found))
        }
    });
    stream::iter(checks)
        .buffered(CONCURRENT)
        .try_collect()
        .await
}

async fn rows(
    store: &ServiceStore,
    check: CheckRow,
    checked: &mut Checked,
    observe: &mut (impl FnMut(Step) + Send),
) -> Result<()> {
    let view = checked.table;
    let mut after = None;
    loop {
        let query = Query {
            view,
            select: Select::All,
            after,
            limit: PAGE,
        };
        let page = store.rows(query).await?;
        checked.records += page.rows.len() as u64;
        for (key, row) in &page.rows {
            if let Err(why) = check(row) {
                checked.report(key, &why, observe);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
        observe(Step::Progress(checked.clone()));
    }
}
