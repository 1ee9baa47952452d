//! Limits how many messages of one tenant are handled at the same time in this process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use wingbeat_core::runtime::SharedRuntime;

/// The assumed time for which a message has a share, before one was measured.
const HELD_AT_FIRST: Duration = Duration::from_millis(10);
/// The weight of the last measured time is one of this many.
const SMOOTHED: u32 = 8;
/// The shortest time for which a message is put off.
const PUT_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest time for which a message is put off, so that a wrong estimate does little harm.
const PUT_OFF_MAX: Duration = Duration::from_secs(120);
/// The number of tenants from which those are forgotten that have nothing here.
const IDLE_MAX: usize = 1_024;

/// The shares of all tenants: each has the same number of them. Partitions of a subscription have
/// the tenants in common.
pub(crate) struct Tenants {
    runtime: SharedRuntime,
    /// The number of shares of one tenant.
    each: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tenants: BTreeMap<Arc<str>, Tenant>,
    /// The measured time for which a message has a share.
    held: Option<Duration>,
}

#[derive(Default)]
struct Tenant {
    taken: usize,
    /// Those that wait for a share, in order of arrival.
    waiting: VecDeque<oneshot::Sender<Share>>,
    /// The time at which the last message that was put off comes back.
    until: Duration,
}

impl Tenants {
    pub(crate) fn new(each: usize, runtime: SharedRuntime) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            each: AtomicUsize::new(each),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self) -> usize {
        self.each.load(Ordering::Relaxed)
    }

    /// Changes the number of shares of each tenant. Those that are taken stay so until they are
    /// given back.
    pub(crate) fn resize(self: &Arc<Self>, each: usize) {
        self.each.store(each, Ordering::Relaxed);
        let mut given = Vec::new();
        for (name, tenant) in &mut self.state().tenants {
            while tenant.taken < each
                && let Some(next) = tenant.waiting.pop_front()
            {
                tenant.taken += 1;
                given.push((next, self.share(name)));
            }
        }
        // One that nobody waits for any more comes back, which takes the lock.
        for (next, share) in given {
            let _ = next.send(share);
        }
    }

    fn share(self: &Arc<Self>, tenant: &Arc<str>) -> Share {
        Share {
            of: Arc::clone(self),
            tenant: Arc::clone(tenant),
            since: self.runtime.elapsed(),
        }
    }

    /// Takes a share if one is free and nobody waits for it.
    pub(crate) fn try_take(self: &Arc<Self>, name: &Arc<str>) -> Option<Share> {
        let mut state = self.state();
        let tenant = state.tenants.entry(Arc::clone(name)).or_default();
        if tenant.taken >= self.each() || !tenant.waiting.is_empty() {
            return None;
        }
        tenant.taken += 1;
        Some(self.share(name))
    }

    /// Waits for a share. One that became free meanwhile is there at once.
    pub(crate) fn wait(self: &Arc<Self>, name: &Arc<str>) -> oneshot::Receiver<Share> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let tenant = state.tenants.entry(Arc::clone(name)).or_default();
        tenant.waiting.retain(|it| !it.is_closed());
        if tenant.taken >= self.each() || !tenant.waiting.is_empty() {
            tenant.waiting.push_back(sender);
            return receiver;
        }
        tenant.taken += 1;
        drop(state);
        let _ = sender.send(self.share(name)); // The receiver is here.
        receiver
    }

    /// Returns how long a message of this tenant is put off: until those before it are handled.
    pub(crate) fn put_off(&self, name: &Arc<str>) -> Duration {
        let (now, each) = (self.runtime.elapsed(), self.each());
        let mut state = self.state();
        if state.tenants.len() > IDLE_MAX {
            state.tenants.retain(|_, it| !it.is_idle(now));
        }
        let held = state.held.unwrap_or(HELD_AT_FIRST);
        let spacing = held / u32::try_from(each.max(1)).unwrap_or(u32::MAX);
        let tenant = state.tenants.entry(Arc::clone(name)).or_default();
        let (first, last) = (now + PUT_OFF_MIN, now + PUT_OFF_MAX);
        tenant.until = (tenant.until + spacing).clamp(first, last);
        tenant.until - now
    }

    fn give_back(self: &Arc<Self>, share: &Share) {
        let now = self.runtime.elapsed();
        let held = now.saturating_sub(share.since);
        let next = {
            let mut state = self.state();
            let known = state.held.unwrap_or(held);
            state.held = Some((known * (SMOOTHED - 1) + held) / SMOOTHED);
            let each = self.each();
            let Some(tenant) = state.tenants.get_mut(&share.tenant) else {
                return;
            };
            let next = (tenant.taken <= each).then(|| tenant.waiting.pop_front());
            let next = next.flatten();
            if next.is_none() {
                tenant.taken -= 1;
                if tenant.is_idle(now) {
                    state.tenants.remove(&share.tenant);
                }
            }
            next
        };
        if let Some(next) = next {
            // One that nobody waits for any more comes back.
            let _ = next.send(self.share(&share.tenant));
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.state().tenants.len()
    }
}

impl Tenant {
    fn is_idle(&self, now: Duration) -> bool {
        self.taken == 0 && self.until <= now && self.waiting.iter().all(oneshot::Sender::is_closed)
    }
}

/// The right to handle one message of a tenant. It is given back when this is dropped.
pub(crate) struct Share {
    of: Arc<Tenants>,
    tenant: Arc<str>,
    since: Duration,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Share").field(&self.tenant).finish()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let of = Arc::clone(&self.of);
        of.give_back(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::TokioRuntime;

    fn tenants(each: usize) -> Arc<Tenants> {
        Tenants::new(each, TokioRuntime::new())
    }

    #[test]
    fn each_tenant_has_its_own_shares_and_leaves_nothing_behind() {
        let tenants = tenants(2);
        let (a, b) = ("a".into(), "b".into());
        let mut held = vec![tenants.try_take(&a), tenants.try_take(&a)];
        assert!(held.iter().all(Option::is_some));
        assert!(tenants.try_take(&a).is_none());
        held.push(tenants.try_take(&b));
        assert!(held[2].is_some());
        held.clear();
        assert_eq!(tenants.len(), 0);
    }

    #[test]
    fn a_share_goes_to_the_first_who_still_waits() {
        let tenants = tenants(1);
        let a = "a".into();
        let held = tenants.try_take(&a);
        let (gone, mut first, mut second) = (tenants.wait(&a), tenants.wait(&a), tenants.wait(&a));
        drop(gone);
        drop(held);
        assert!(tenants.try_take(&a).is_none());
        let share = first.try_recv().expect("it is its turn");
        assert!(second.try_recv().is_err());
        drop(share);
        drop(second);
        assert!(tenants.try_take(&a).is_some());
        assert_eq!(tenants.len(), 0);
        assert!(tenants.wait(&a).try_recv().is_ok(), "nobody is before it");
    }

    #[test]
    fn the_number_of_shares_follows_each_change() {
        let tenants = tenants(1);
        let a = "a".into();
        let mut held = vec![tenants.try_take(&a)];
        let mut waiting = [tenants.wait(&a), tenants.wait(&a)];
        tenants.resize(2);
        held.push(waiting[0].try_recv().ok());
        assert!(held[1].is_some());
        tenants.resize(1);
        held.pop();
        assert!(waiting[1].try_recv().is_err(), "one of one is taken");
        held.pop();
        assert!(waiting[1].try_recv().is_ok());
    }

    #[test]
    fn messages_that_are_put_off_come_back_one_after_another() {
        let tenants = tenants(1);
        let (a, b) = ("a".into(), "b".into());
        let times: Vec<_> = (0..200).map(|_| tenants.put_off(&a)).collect();
        assert!(times[0] >= PUT_OFF_MIN && times[0] < 2 * PUT_OFF_MIN);
        assert!(times[199] > PUT_OFF_MIN && times[199] < 3 * PUT_OFF_MIN);
        assert!(tenants.put_off(&b) < 2 * PUT_OFF_MIN);
        for _ in 0..100_000 {
            assert!(tenants.put_off(&a) <= PUT_OFF_MAX);
        }
    }
}
