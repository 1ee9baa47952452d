//! Work of tenants, each of which has a limit.
//!
//! A tenant with many messages must not fill the prefetch, behind which the messages of the others
//! would wait. So only some of its work waits in memory; the rest is put off into the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::work::Work;
use crate::limit::{Share, Tenants};

/// The part of the prefetch that the work of one tenant may fill before it starts.
const OF_ONE: usize = 8;
/// The part of the prefetch that work may fill which waits for others of its tenant.
const OF_ALL: usize = 2;

/// The largest numbers of pieces of work that have not started.
#[derive(Clone, Copy)]
struct Most {
    of_one: usize,
    waiting: usize,
}

/// Work by tenant, in order of arrival.
pub(super) struct Tenancy {
    tenants: Arc<Tenants>,
    /// `None` if no work is put off, because it must not be overtaken.
    most: Option<Most>,
    /// The number of pieces of work that have not started, of each tenant.
    held: BTreeMap<Arc<str>, usize>,
    /// Work that could start if fewer others of its tenant were running.
    waiting: BTreeMap<Arc<str>, VecDeque<Work>>,
    count: usize,
    /// One for each tenant whose work waits.
    requests: FuturesUnordered<BoxFuture<'static, (Arc<str>, Option<Share>)>>,
}

impl Tenancy {
    pub(super) fn new(tenants: Arc<Tenants>, prefetch: usize, keeps_order: bool) -> Self {
        let most = Most {
            of_one: (prefetch / OF_ONE).max(1),
            waiting: prefetch / OF_ALL,
        };
        Self {
            tenants,
            most: (!keeps_order).then_some(most),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            count: 0,
            requests: FuturesUnordered::new(),
        }
    }

    /// Returns how long new work is put off, if there is too much of its tenant. `is_behind` says
    /// that other work with its key has to end first.
    pub(super) fn puts_off(&self, work: &Work, is_behind: bool) -> Option<Duration> {
        let (name, most) = (work.tenant.as_ref()?, self.most?);
        let waits = self.waiting.contains_key(name);
        let is_full = self.held.get(name).is_some_and(|it| *it >= most.of_one);
        let is_crowded = waits && self.count >= most.waiting;
        let puts_off = is_crowded || is_full && (waits || is_behind);
        puts_off.then(|| self.tenants.put_off(name))
    }

    /// Counts work that has not started.
    pub(super) fn hold(&mut self, work: &Work) {
        if let Some(name) = &work.tenant {
            *self.held.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    /// Counts work that starts.
    pub(super) fn started(&mut self, work: &Work) {
        if let Some(name) = &work.tenant
            && let Some(held) = self.held.get_mut(name)
        {
            *held -= 1;
            if *held == 0 {
                self.held.remove(name);
            }
        }
    }

    /// Returns the work with the share of its tenant. If there is none, the work waits.
    pub(super) fn admit(&mut self, mut work: Work) -> Option<Work> {
        let Some(name) = work.tenant.clone() else {
            return Some(work);
        };
        if !self.waiting.contains_key(&name) {
            work.share = self.tenants.try_take(&name);
            if work.share.is_some() {
                return Some(work);
            }
            self.request(Arc::clone(&name));
        }
        self.count += 1;
        self.waiting.entry(name).or_default().push_back(work);
        None
    }

    fn request(&self, name: Arc<str>) {
        let share = self.tenants.wait(&name);
        let request = async move { (name, share.await.ok()) };
        self.requests.push(Box::pin(request));
    }

    /// Waits for the next work that can start. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Work> {
        let Some((name, share)) = self.requests.next().await else {
            return std::future::pending().await;
        };
        let waiting = self.waiting.get_mut(&name)?;
        let work = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&name);
        } else {
            self.request(name);
        }
        let mut work = work?;
        self.count -= 1;
        work.share = share;
        Some(work)
    }

    /// Removes all work that has not started. Returns that which waits.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Work> + use<> {
        self.requests.clear();
        self.held.clear();
        self.count = 0;
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().flatten()
    }
}
