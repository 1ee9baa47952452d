//! Fleets that several tests share. The first test that needs one starts it, and it ends with this
//! process.

use std::ops::{Deref, DerefMut};

use shop_e2e::fleet::{Fleet, Plan};
use shop_e2e::process::sabotaged;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The fleet that users would run. No payment counts as delayed because the machine is slow.
pub(crate) static PLAIN: Shared = Shared::new(|| {
    Plan::standard()
        .cheap_passwords()
        .ships_after("50ms")
        .with("WINGBEAT_RATE_LIMITS", "on")
        .with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "10m")
});

/// A fleet whose processes can be made to end at a step, and lack no mechanism.
pub(crate) static WHOLE: Shared = Shared::new(|| sabotage(Plan::standard(), None));

/// A fleet that runs once it is needed.
pub(crate) struct Shared {
    plan: fn() -> Plan,
    fleet: RwLock<Option<Fleet>>,
}

impl Shared {
    const fn new(plan: fn() -> Plan) -> Self {
        let fleet = RwLock::const_new(None);
        Self { plan, fleet }
    }

    /// Takes the fleet beside other tests.
    pub(crate) async fn beside_others(&'static self) -> RwLockReadGuard<'static, Fleet> {
        loop {
            match RwLockReadGuard::try_map(self.fleet.read().await, Option::as_ref) {
                Ok(fleet) => return fleet,
                // Whoever keeps this guard waits for itself below.
                Err(nobody) => drop(nobody),
            }
            drop(self.alone().await);
        }
    }

    /// Takes the fleet for a test that restarts processes, stops servers or changes the provider.
    /// The test leaves it ready and whole.
    pub(crate) async fn alone(&'static self) -> Alone {
        let mut fleet = self.fleet.write().await;
        if fleet.is_none() {
            *fleet = Some((self.plan)().start().await);
        }
        Alone(fleet)
    }
}

/// A fleet that one test has for itself. If the test fails, the next one gets a new fleet.
pub(crate) struct Alone(RwLockWriteGuard<'static, Option<Fleet>>);

impl Deref for Alone {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Fleet {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0 = None;
        }
    }
}

/// The settings of fleets with failpoints, and of those that lack a mechanism.
pub(crate) fn sabotage(plan: Plan, mechanism: Option<&str>) -> Plan {
    let plan = plan
        .binary(sabotaged())
        .cheap_passwords()
        .ships_after("400ms")
        .with("WINGBEAT_CATALOG_CACHED_FOR", "1ms")
        .with("WINGBEAT_CHECKOUT_RESEND_AFTER", "3s");
    match mechanism {
        Some(mechanism) => plan.with("WINGBEAT_SABOTAGE", mechanism),
        None => plan,
    }
}
