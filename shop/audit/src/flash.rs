//! Invariant 6: no flash sale confirms more claims than it has units, or a user may have.

use wingbeat::Result;
use wingbeat::run::RunningSystem;

use super::Check;

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(6, "confirmed flash claims ≤ allocation and limit");
    for (sale, figures) in shop_inventory::flash_audit::sales(&system.reads("inventory")?).await? {
        check.checked += figures.claims;
        for violation in figures.violations() {
            check.broken(sale, violation);
        }
    }
    Ok(check)
}
