//! The sales that this process serves. The claims of a crowd find their terms here, without a read
//! of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shop_contracts::SaleId;
use wingbeat::cache::{Durability, Terms};
use wingbeat::store::Position;
use wingbeat::{Reads, Result, Timestamp, serde_json};

use super::{ALLOTTED_AFTER, LOG_MAX};
use crate::domain::{FlashSale, SaleTerms};

/// The sales that are not closed, as this process knows them.
#[derive(Clone, Debug, Default)]
pub struct OpenSales(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// `true` once the sales have been read from the store.
    is_loaded: bool,
    sales: BTreeMap<SaleId, Open>,
}

#[derive(Debug)]
struct Open {
    terms: Arc<SaleTerms>,
    settled: Settled,
}

/// The figures of a sale that this process has written to the cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    /// The sale's revision; 0 before the first count.
    pub(crate) revision: u64,
    /// The newest holder that was counted.
    pub(crate) holders: Option<Position>,
}

impl OpenSales {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the sales by those that are not closed.
    pub(crate) fn set(&self, open: Vec<(SaleId, FlashSale)>) {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut known.sales);
        for (id, sale) in open {
            let settled = before.remove(&id).map(|it| it.settled);
            let open = Open {
                terms: Arc::new(sale.terms),
                settled: settled.unwrap_or_default(),
            };
            known.sales.insert(id, open);
        }
        known.is_loaded = true;
    }

    /// Returns the sales, with their terms.
    pub(crate) fn all(&self) -> Vec<(SaleId, Arc<SaleTerms>)> {
        let known = self.lock();
        let sales = known.sales.iter();
        sales
            .map(|(id, open)| (*id, Arc::clone(&open.terms)))
            .collect()
    }

    /// Returns the terms of a sale if this process knows them, and whether it knows all open sales.
    fn get(&self, id: SaleId) -> (Option<Arc<SaleTerms>>, bool) {
        let known = self.lock();
        let open = known.sales.get(&id);
        (open.map(|open| Arc::clone(&open.terms)), known.is_loaded)
    }

    /// Returns the figures of a sale that were written to the cache last.
    pub(crate) fn settled(&self, id: SaleId) -> Settled {
        let known = self.lock();
        let open = known.sales.get(&id);
        open.map(|open| open.settled.clone()).unwrap_or_default()
    }

    /// Records the figures of a sale that were written to the cache.
    pub(crate) fn note(&self, id: SaleId, settled: Settled) {
        if let Some(open) = self.lock().sales.get_mut(&id) {
            open.settled = settled;
        }
    }

    /// Returns the terms of a sale. A sale that another process has just created is found in the
    /// cache. A process that has just started reads it from the store.
    pub(crate) async fn terms(&self, reads: &Reads, id: SaleId) -> Result<Option<Arc<SaleTerms>>> {
        let (known, is_loaded) = self.get(id);
        if known.is_some() {
            return Ok(known);
        }
        let announced = reads.cache().get(&terms_key(id)).await?;
        let announced = announced.and_then(|body| wingbeat::decode::<SaleTerms>(&body).ok());
        let terms = match announced {
            Some(terms) => terms,
            None if is_loaded => return Ok(None),
            None => match reads.entity::<FlashSale>(&id).await? {
                Some(sale) => sale.terms,
                None => return Ok(None),
            },
        };
        let terms = Arc::new(terms);
        let open = Open {
            terms: Arc::clone(&terms),
            settled: Settled::default(),
        };
        self.lock().sales.entry(id).or_insert(open);
        Ok(Some(terms))
    }
}

/// Stores the terms of a new sale in the cache, for all processes.
///
/// # Errors
///
/// `cache_unavailable`. Then the processes find the sale in the store, a second later.
pub(crate) async fn announce(
    reads: &Reads,
    id: SaleId,
    terms: &SaleTerms,
    now: Timestamp,
) -> Result<()> {
    let ttl = terms.closes_at.since(now) + ALLOTTED_AFTER;
    let body = serde_json::to_vec(terms).expect("texts and numbers always encode");
    let put = reads
        .cache()
        .put(&terms_key(id), body.into(), ttl, Durability::Restart);
    put.await
}

fn terms_key(id: SaleId) -> String {
    format!("flash-terms:{id}")
}

/// Returns the terms of the allotment of a sale.
pub(crate) fn allotted(terms: &SaleTerms) -> Terms {
    Terms {
        opens_at: terms.opens_at,
        closes_at: terms.closes_at,
        per_holder: terms.per_user,
        log_max: LOG_MAX,
    }
}
