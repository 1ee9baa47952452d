//! Flash sales that are killed in the middle: exactly the units are sold.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Shop, Shopper};
use shop_e2e::process::{Place, binary};
use shop_e2e::site::Site;
use shop_e2e::wait::{check, until};

use crate::shared::PLAIN;

const BUYERS: u64 = 400;
const UNITS: u64 = 60;
/// The units that are taken when the kill comes.
const TAKEN: u64 = 10;

/// Starts `shop flash-sale`.
fn rush(url: &str, password: &str) -> Child {
    let (buyers, units) = (BUYERS.to_string(), UNITS.to_string());
    let mut command = Command::new(binary());
    command
        .args(["flash-sale", "--json", "--url", url])
        .args(["--buyers", &buyers, "--units", &units])
        .env("SHOP_ADMIN_PASSWORD", password)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until some units of the sale are taken.
async fn has_begun(shop: &Shop) {
    until("units are taken", async || {
        let answer = shop.ask(&Call::get("/api/v1/flash-sales")).await;
        let answer = answer.map_err(|why| why.to_string())?;
        let sales: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut items = sales["items"].as_array().into_iter().flatten();
        let sale = items.find(|sale| sale["allocation"] == UNITS);
        let left = sale.and_then(|sale| sale["left"].as_u64());
        check(left.is_some_and(|left| left <= UNITS - TAKEN), &sales)
    })
    .await;
}

/// Checks the verdict of the command, and invariant 6.
async fn exactly_the_units_were_sold(rush: Child, admin: &Shopper) {
    let output = tokio::task::block_in_place(|| rush.wait_with_output());
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(report["paid"], UNITS, "{report}");
    assert_eq!(report["refused"], BUYERS - UNITS, "{report}");
    assert_eq!(
        (&report["oversold"], &report["undersold"]),
        (&0.into(), &0.into())
    );
    assert_eq!(output.status.code(), Some(0), "{report}");
    until("the invariant of flash sales holds", async || {
        let (audit, text) = admin.audit().await.map_err(|why| why.to_string())?;
        let flash = audit.invariants.into_iter().find(|it| it.id == 6);
        let flash = flash.ok_or("no invariant 6")?;
        check(flash.ok && flash.checked >= UNITS, text)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_killed_in_the_middle_of_a_sale_sells_exactly_its_units() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("200ms");
    let mut running = place.start().await;
    let site: Site = place.site();
    site.stocked().await;
    let rush = rush(&place.url(), &site.password);
    has_begun(&site.shop).await;
    running.kill();
    running = place.start().await;
    let admin = site.admin().await;
    exactly_the_units_were_sold(rush, &admin).await;
    drop(running);
}

/// Inventory is killed in the middle. Its log of claims is in Redis, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distributed_shop_whose_inventory_is_killed_sells_exactly_the_units() {
    let mut fleet = PLAIN.alone().await;
    let site = fleet.site();
    site.stocked().await;
    let rush = rush(&fleet.url(), &site.password);
    has_begun(&site.shop).await;
    for member in fleet.of("inventory") {
        member.kill();
        member.start();
    }
    fleet.ready().await;
    let admin = site.admin().await;
    exactly_the_units_were_sold(rush, &admin).await;
}
