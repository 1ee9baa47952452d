//! Invariant 1: stock, reservations and ledger agree.

use wingbeat::Result;

use super::Check;
use wingbeat::run::RunningSystem;

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(
        1,
        "0 ≤ reserved ≤ on hand; reservations and ledger add up to them",
    );
    for (sku, figures) in shop_inventory::audit::stock(&system.reads("inventory")?).await? {
        check.checked += 1;
        if let Some(violation) = figures.violation() {
            check.broken(&sku, violation);
        }
    }
    Ok(check)
}
