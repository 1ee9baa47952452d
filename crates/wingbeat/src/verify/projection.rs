//! The comparison of a projection's rows with the events that count.
//!
//! Reads are not from one moment. Each unit that changes rows or checkpoints writes the record of
//! the projection, so a comparison during which that record does not change is exact. Otherwise a
//! row is wrong if several comparisons find the same difference, and nobody has changed the row
//! meanwhile.

use std::collections::BTreeMap;

use wingbeat_core::store::ServiceStore;
use wingbeat_core::{Name, Result};

use super::{Checked, Step};
use crate::state::{Control, Keys, Parts, Projecting, Recount, WrongRow};

/// The comparisons that must find the same difference while other rows change.
const COMPARISONS: usize = 4;

/// One comparison.
struct Compared {
    recount: Recount,
    differences: BTreeMap<String, WrongRow>,
    rows: u64,
    /// Nothing was changed meanwhile.
    is_exact: bool,
}

/// Compares all rows of this release's version, some thousand at a time. There is nothing to
/// compare while no row was written, or while all are removed.
pub(super) async fn rows(
    store: &ServiceStore,
    projecting: &dyn Projecting,
    checked: &mut Checked,
    observe: &mut (impl FnMut(Step) + Send),
) -> Result<()> {
    let mut keys = Keys::default();
    loop {
        let Some(compared) = compare(store, projecting, keys.clone()).await? else {
            observe(Step::Rebuilding(checked.service, checked.table));
            return Ok(());
        };
        if keys.after.is_none() {
            for (id, why) in &compared.recount.found {
                checked.report(id, why, observe);
            }
        }
        checked.records += compared.rows;
        keys.after = compared.recount.keys.until.clone();
        if compared.recount.is_whole {
            for (key, difference) in confirmed(store, projecting, compared).await? {
                checked.report(&key, &difference.error(), observe);
            }
        }
        if keys.after.is_none() {
            return Ok(());
        }
        observe(Step::Progress(checked.clone()));
    }
}

/// Returns the record of the projection, if rows of this version are kept.
async fn kept(store: &ServiceStore, view: Name, version: u32) -> Result<Option<Control>> {
    let control = Control::read(store, view).await?;
    let built = control.versions.get(&version);
    let is_kept = built.is_some_and(|built| !built.removing);
    Ok(is_kept.then_some(control))
}

async fn compare(
    store: &ServiceStore,
    projecting: &dyn Projecting,
    keys: Keys,
) -> Result<Option<Compared>> {
    let it = projecting.projected();
    let stored = Parts::of(it.view.as_str(), it.version).rows;
    let Some(before) = kept(store, it.view, it.version).await? else {
        return Ok(None);
    };
    let recount = projecting.recount(store, keys).await?;
    let (differences, rows) = recount.differences(store, stored).await?;
    let after = kept(store, it.view, it.version).await?;
    Ok(after.map(|after| Compared {
        recount,
        differences,
        rows,
        is_exact: after == before,
    }))
}

/// Returns the differences that do not come from changes meanwhile.
async fn confirmed(
    store: &ServiceStore,
    projecting: &dyn Projecting,
    first: Compared,
) -> Result<BTreeMap<String, WrongRow>> {
    let keys = first.recount.keys;
    let (mut suspected, mut is_exact) = (first.differences, first.is_exact);
    for _ in 1..COMPARISONS {
        if is_exact || suspected.is_empty() {
            break;
        }
        let Some(next) = compare(store, projecting, keys.clone()).await? else {
            return Ok(BTreeMap::new());
        };
        is_exact = next.is_exact;
        suspected.retain(|key, was| next.differences.get(key) == Some(was));
    }
    Ok(suspected)
}
