//! One page of a table: the index rows of its records are written again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use wingbeat_core::text::printable;
use wingbeat_core::{Class, Error, Name, Result, RuntimeExt as _, TraceParent, sabotage};

use super::state::{Pass, State, key};
use crate::decode;
use crate::state::Derived;
use crate::telemetry::{self, Context};
use crate::unit::{Scope, ServiceContext, run_unit};

/// The number of records whose rows are written at the same time. They share commits with live
/// units, so a page must not fill one.
const PAGE: usize = 64;
/// The longest stored failure, in bytes.
const FAILURE_MAX: usize = 1_024;

/// A page that was written.
pub(super) struct Page {
    pub(super) records: u64,
    /// The id of its last record.
    pub(super) last: Option<String>,
    pub(super) is_last: bool,
}

/// The reason for which a page was not written.
pub(super) enum Stopped {
    /// The store may answer later.
    Unavailable(Error),
    /// A record cannot be read.
    Failed(String),
}

impl From<Error> for Stopped {
    fn from(why: Error) -> Self {
        match why.class() {
            Class::Retry => Self::Unavailable(why),
            Class::Reject => Self::Failed(printable(&why.to_string(), FAILURE_MAX)),
        }
    }
}

/// Writes the rows of the records after the position of the pass again, each in a unit that reads
/// the record: if a handler changes the record meanwhile, the handler's rows count.
pub(super) async fn page(
    service: &Arc<ServiceContext>,
    table: &Derived,
    pass: &Pass,
) -> Result<Page, Stopped> {
    let trace = TraceParent::of(service.runtime.id());
    let name = table.table;
    let span = telemetry::unit_span(format_args!("rebuild {name}"), service.name, trace, None);
    let written = write(service, table, pass);
    Context::at(trace).run(span, Box::pin(written)).await
}

async fn write(
    service: &Arc<ServiceContext>,
    table: &Derived,
    pass: &Pass,
) -> Result<Page, Stopped> {
    let position = pass.position.clone();
    let records = service.store.scan(table.table, position, PAGE).await?;
    let units = records.iter().map(async |(id, _)| {
        let shown = run_unit(service, |scope| async move {
            if !is_current(&scope, pass).await? {
                return Ok(());
            }
            let derived = AssertUnwindSafe((table.derive)(scope, id.clone())).catch_unwind();
            derived.await.unwrap_or_else(|_| {
                let text = "the function that returns the rows panicked";
                Err(Error::reject("panicked", text))
            })
        });
        shown.await.map_err(|why| stopped(table.table, id, why))
    });
    join_all(units)
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    Ok(Page {
        records: records.len() as u64,
        is_last: records.len() < PAGE || sabotage::lacks(sabotage::REBUILD_LAST),
        last: records.into_iter().next_back().map(|(id, _)| id),
    })
}

/// Reads the pass in this unit. Returns `false` if another process or release has taken over.
async fn is_current(scope: &Scope, pass: &Pass) -> Result<bool> {
    let Some(body) = scope.load(&key()).await?.body else {
        return Ok(false);
    };
    let state: State = decode(&body)?;
    Ok(state.pass.as_ref() == Some(pass))
}

fn stopped(table: Name, id: &str, why: Error) -> Stopped {
    match why.class() {
        Class::Retry => Stopped::Unavailable(why),
        Class::Reject => {
            let text = format!("{table} {id}: {}: {why}", why.code());
            Stopped::Failed(printable(&text, FAILURE_MAX))
        }
    }
}
