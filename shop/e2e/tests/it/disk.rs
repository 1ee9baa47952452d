//! A full disk: the shop accepts nothing new, and loses nothing that it has accepted.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use shop_client::http::Call;
use shop_client::shop::key;
use shop_client::{Error, Order, Shopper};
use shop_e2e::process::Place;
use shop_e2e::verdict::violations;
use shop_e2e::wait::BOUND;
use tokio::task::JoinSet;

/// The largest file that the process may write, in units of 512 bytes: 32 MB, twice the log.
const LIMIT: u32 = 64_000;
/// Shoppers who fill the disk together.
const SHOPPERS: usize = 16;

/// Returns the program with a limit that makes writes fail instead of ending the process.
fn limited(place: &Place) -> Command {
    let program = place.command();
    let mut limited = Command::new("sh");
    limited.stdin(Stdio::null()).stdout(Stdio::null());
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT}; exec \"$0\" \"$@\"");
    limited
        .arg("-c")
        .arg(script)
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    limited
}

/// A shopper's orders up to the refusal because the disk is full.
struct Placed {
    shopper: Shopper,
    accepted: Vec<String>,
    /// The keys of orders that got another answer than the refusal.
    unknown: Vec<HeaderValue>,
}

fn bell() -> Order {
    Order::of([("WB-BELL-01".into(), 1)])
}

/// Places orders until the disk is full.
async fn fill(shopper: Shopper) -> Placed {
    let (mut accepted, mut unknown) = (Vec::new(), Vec::new());
    loop {
        let key = key();
        match shopper.place_as(&key, &bell(), Duration::ZERO).await {
            Ok(placed) => accepted.push(placed.order_id),
            Err(Error::Refused {
                status, problem, ..
            }) if problem.code == "storage_full" => {
                assert_eq!(status, 503);
                return Placed {
                    shopper,
                    accepted,
                    unknown,
                };
            }
            // The disk became full while the shop handled it.
            Err(_) => unknown.push(key),
        }
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_intake_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::new(data.path()).ships_after("100ms"));
    let running = place.start_as(limited(&place)).await;
    let shop = place.shop();
    let mut shoppers = JoinSet::new();
    for shopper in shop.shoppers(SHOPPERS).await.unwrap() {
        shoppers.spawn(fill(shopper));
    }
    let all = shoppers.join_all().await;
    let accepted: usize = all.iter().map(|it| it.accepted.len()).sum();
    assert!(accepted > 100, "{accepted} orders");
    let browsing = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
    assert_eq!(browsing.status, 200);
    running.kill();

    let running = place.start().await;
    for mut placed in all {
        let shopper = placed.shopper;
        for key in &placed.unknown {
            let order = shopper.place_as(key, &bell(), BOUND).await.unwrap();
            placed.accepted.push(order.order_id);
        }
        for id in &placed.accepted {
            let ended = shopper.wait_ended(id, BOUND).await.unwrap();
            assert_eq!(ended.status, "completed");
        }
        let listed = shopper.orders().await.unwrap();
        assert_eq!(listed.len(), placed.accepted.len());
    }
    assert_eq!(violations(&place.site()).await, Vec::<String>::new());
    drop(running);
}
