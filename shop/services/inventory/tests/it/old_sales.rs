//! Flash sales that ended long ago.

use std::time::Duration;

use serde_json::{Value, json};
use shop_inventory::domain::{FlashClaim, FlashHolder, FlashSale, SaleRow};
use shop_inventory::{Config, flash_audit, service};
use wingbeat::test::TestApp;
use wingbeat::{App, Select};

use crate::flash::{MINUTE, SECOND, Sale, commit};
use crate::warehouse::{order, stocked};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets days pass without the service.
fn pass_days(world: &mut TestApp, days: u32) {
    world.crash_for(DAY * days, App::new().service(service(&Config::default())));
}

/// The numbers of stored sales, of their rows, of holders, of their rows, and of claims.
fn stored(world: &TestApp) -> [usize; 5] {
    let reads = world.reads("inventory");
    let count = async {
        let sale_rows = reads.rows::<SaleRow>(Select::All, None, 100).await?;
        let holder_rows = reads.rows::<FlashHolder>(Select::All, None, 100).await?;
        Ok::<_, wingbeat::Error>([
            reads.entities::<FlashSale>(None, 100).await?.len(),
            sale_rows.rows.len(),
            reads.entities::<FlashHolder>(None, 100).await?.len(),
            holder_rows.rows.len(),
            reads.entities::<FlashClaim>(None, 100).await?.len(),
        ])
    };
    world.run(count).unwrap()
}

/// The violations of the audit, and the number of audited sales.
fn audit(world: &TestApp) -> (Vec<String>, usize) {
    let reads = world.reads("inventory");
    let sales = world.run(flash_audit::sales(&reads)).unwrap();
    let violations = sales.values().flat_map(|sale| sale.violations());
    (violations.collect(), sales.len())
}

/// The claims of a sale expire before the sale is deleted. The audit does not compare them then.
#[test]
fn the_audit_holds_and_nothing_is_stored_40_days_after_a_sale() {
    let mut world = stocked(1);
    let sale = Sale::open(&world, 4);
    let claim = sale.confirmed(1);
    commit(&world, order(10), claim);
    sale.confirmed(2);
    assert!(sale.claim(3).is_ok());
    world.pass(MINUTE * 2);
    assert_eq!(audit(&world), (vec![], 1));
    assert_eq!(stored(&world), [1, 1, 3, 3, 3]);

    pass_days(&mut world, 8);
    world.pass(MINUTE);
    assert_eq!(audit(&world), (vec![], 1), "8 days later");
    assert_eq!(stored(&world), [1, 1, 3, 3, 3]);

    pass_days(&mut world, 33);
    assert_eq!(audit(&world), (vec![], 0), "41 days later");
    world.pass(MINUTE * 3);
    assert_eq!(audit(&world), (vec![], 0));
    assert_eq!(stored(&world), [0; 5]);

    let (_, listed) = world.ask("GET", "/api/v1/flash-sales", "", &Value::Null);
    assert_eq!(listed["items"], json!([]));
    let sale = Sale::open(&world, 1);
    sale.confirmed(1);
    world.pass(SECOND);
    assert_eq!(audit(&world), (vec![], 1), "sales go on");
}
