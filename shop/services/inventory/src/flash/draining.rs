//! The claims that the cache has granted: the store decides on them in batches, and the cache gets
//! the store's count.
//!
//! A run settles what earlier runs have recorded, and then decides on the claims behind it. So a
//! claim leaves the log only after its record is durable.

use shop_contracts::SaleId;
use wingbeat::cache::{Count, Entry, Mark};
use wingbeat::store::{Position, Select};
use wingbeat::{Name, Now, Reads, Result, State};

use super::open_sales::{OpenSales, Settled, allotted};
use super::units::{Decide, Decided, Units};
use super::{ALLOTMENTS, ALLOTTED_AFTER};
use crate::domain::{FlashClaim, FlashHolder, FlashSale};

/// Claims of one sale per run.
const BATCH_MAX: usize = 200;
/// Holders per read.
const PAGE: usize = 500;

/// Decides on the claims that wait, for all sales that are open or have just ended.
pub(crate) async fn drain_claims(
    State(open): State<OpenSales>,
    Now(now): Now,
    reads: Reads,
    units: Units,
) -> Result<Decided> {
    drain(&open, Now(now), &reads, &units, Rules::OURS).await
}

/// The rules by which the store has the last word.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Decides on a claim.
    pub(crate) decide: Decide,
    /// Returns the units that the cache may grant.
    pub(crate) free: fn(&FlashSale) -> u32,
}

impl Rules {
    const OURS: Self = Self {
        decide: FlashSale::decide,
        free: FlashSale::free,
    };
}

/// Decides on the claims that wait, by these rules.
pub(crate) async fn drain(
    open: &OpenSales,
    Now(now): Now,
    reads: &Reads,
    units: &Units,
    rules: Rules,
) -> Result<Decided> {
    let (mut confirmed, mut expired) = Decided::default();
    for (sale_id, terms) in open.all() {
        if now < terms.opens_at {
            continue;
        }
        let waiting = settle(open, Now(now), reads, sale_id, rules).await?;
        let decided = units.decide(sale_id, waiting, now, rules.decide).await?;
        confirmed.extend(decided.0);
        expired.extend(decided.1);
    }
    Ok((confirmed, expired))
}

/// Removes the recorded claims from the log of a sale, and sets its count from the store. Creates
/// the allotment if the cache has lost it. Returns the claims that wait for a decision.
async fn settle(
    open: &OpenSales,
    Now(now): Now,
    reads: &Reads,
    sale_id: SaleId,
    rules: Rules,
) -> Result<Vec<Entry>> {
    let key = sale_id.to_string();
    let Ok(log) = ALLOTMENTS.claims(reads, &key, BATCH_MAX).await else {
        return Ok(Vec::new()); // The sale is paused until the cache answers.
    };
    let entries = log.as_ref().map_or(&[][..], |log| &log.entries);
    // These reads see what is durable, and nothing that a unit has only staged.
    let recorded = recorded(reads, entries).await?;
    let Some(sale) = reads.entity::<FlashSale>(&sale_id).await? else {
        return Ok(Vec::new());
    };
    let Some(mut log) = log else {
        if !sale.closed {
            let (count, settled) = counted(reads, sale_id, &sale, None, rules).await?;
            let ttl = sale.terms.closes_at.since(now) + ALLOTTED_AFTER;
            let allot = ALLOTMENTS.allot(reads, &key, allotted(&sale.terms), count, ttl);
            if allot.await.is_ok() {
                tracing::info!(sale = key, "the cache has the count of a flash sale again");
                open.note(sale_id, settled);
            }
        }
        return Ok(Vec::new());
    };
    let told = open.settled(sale_id);
    if recorded > 0 || told.revision != sale.revision {
        let counted = counted(reads, sale_id, &sale, told.holders, rules);
        let (count, settled) = counted.await?;
        let mark = Mark {
            until: log.first + recorded as u64,
            generation: log.generation,
        };
        if let Ok(true) = ALLOTMENTS.settle(reads, &key, mark, count).await {
            open.note(sale_id, settled);
        }
    }
    log.entries.drain(..recorded);
    Ok(log.entries)
}

/// Returns the number of claims at the beginning of the log that the store has.
async fn recorded(reads: &Reads, entries: &[Entry]) -> Result<usize> {
    let ids = entries.iter().map(|entry| entry.id.parse());
    // An entry that is no claim never gets a record, so it counts as recorded.
    let ids: Vec<_> = ids.map(Result::unwrap_or_default).collect();
    let found = reads.entities_of::<FlashClaim>(&ids).await?;
    let mut recorded = 0;
    for (id, claim) in ids.iter().zip(found) {
        if !id.0.is_nil() && claim?.is_none() {
            break;
        }
        recorded += 1;
    }
    Ok(recorded)
}

/// Returns the count of a sale, with the holders that changed after the position `since`.
async fn counted(
    reads: &Reads,
    sale_id: SaleId,
    sale: &FlashSale,
    since: Option<Position>,
    rules: Rules,
) -> Result<(Count, Settled)> {
    let mut count = Count {
        revision: sale.revision,
        free: (rules.free)(sale).into(),
        holders: Vec::new(),
    };
    let mut last = since;
    loop {
        let changed = Select::Prefix {
            column: Name::new(FlashHolder::CHANGED),
            prefix: FlashHolder::changes_of(sale_id),
            descending: false,
        };
        let page = reads
            .rows::<FlashHolder>(changed, last.clone(), PAGE)
            .await?;
        if let Some((key, holder)) = page.rows.last() {
            last = Some(Position {
                value: holder.changed(),
                key: key.clone(),
            });
        }
        let holders = page.rows.into_iter();
        count
            .holders
            .extend(holders.map(|(_, it)| (it.user_id.to_string(), it.units)));
        if page.next.is_none() {
            break;
        }
    }
    let settled = Settled {
        revision: sale.revision,
        holders: last,
    };
    Ok((count, settled))
}
