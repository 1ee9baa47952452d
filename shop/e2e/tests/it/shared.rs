//! Fleets that several tests share. The first test that needs one starts it, and it ends with this process.
//!
//! A test that restarts processes, stops servers or changes the provider takes the fleet for itself (`write`), and
//! leaves it ready and whole.

use shop_e2e::fleet::{Fleet, Plan};
use shop_e2e::process::sabotaged;
use tokio::sync::{OnceCell, RwLock};

/// The fleet that users would run. No payment counts as delayed because the machine is slow.
pub(crate) async fn plain() -> &'static RwLock<Fleet> {
    static FLEET: OnceCell<RwLock<Fleet>> = OnceCell::const_new();
    let plan = Plan::standard()
        .cheap_passwords()
        .ships_after("50ms")
        .with("WINGBEAT_RATE_LIMITS", "on")
        .with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "10m");
    FLEET
        .get_or_init(async || RwLock::new(plan.start().await))
        .await
}

/// A fleet whose processes can be made to end at a step, and lack no mechanism.
pub(crate) async fn whole() -> &'static RwLock<Fleet> {
    static FLEET: OnceCell<RwLock<Fleet>> = OnceCell::const_new();
    let plan = sabotage(Plan::standard(), None);
    FLEET
        .get_or_init(async || RwLock::new(plan.start().await))
        .await
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
