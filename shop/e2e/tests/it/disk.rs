//! A disk that is full: nothing new is taken in, and nothing that was taken in is lost.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shop_client::http::Call;
use shop_client::shop::key;
use shop_client::{Error, Order};

use shop_e2e::process::Place;

/// The largest file that the process may write, in units of 512 bytes: 32 MB, twice the log.
const LIMIT: u32 = 64_000;
/// The limit is reached by then.
const FULL_WITHIN: Duration = Duration::from_secs(600);
/// How long the orders may take once there is space again.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// The same program, with a limit that fails writes instead of ending the process.
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

#[tokio::test]
async fn a_full_disk_stops_the_intake_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path())
        .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "100ms")
        .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "100ms");
    let running = place.start_as(limited(&place)).await;
    let shop = place.shop();
    let shopper = shop.shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let (mut accepted, mut unanswered) = (Vec::new(), Vec::new());
    let until = Instant::now() + FULL_WITHIN;
    loop {
        assert!(
            Instant::now() < until,
            "never full: {} orders",
            accepted.len()
        );
        let key = key();
        match shopper.place_as(&key, &order, Duration::ZERO).await {
            Ok(placed) => accepted.push(placed.order_id),
            Err(Error::Refused {
                status, problem, ..
            }) if problem.code == "storage_full" => {
                assert_eq!(status, 503);
                break;
            }
            Err(_) => unanswered.push(key), // It was in hand when the disk was full.
        }
    }
    assert!(accepted.len() > 100, "{} orders", accepted.len());
    let browsing = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
    assert_eq!(browsing.status, 200);
    running.kill();

    let running = place.start().await;
    for key in &unanswered {
        let placed = shopper.place_as(key, &order, ENDED_WITHIN).await.unwrap();
        accepted.push(placed.order_id);
    }
    for id in &accepted {
        let ended = shopper.wait_ended(id, ENDED_WITHIN).await.unwrap();
        assert_eq!(ended.status, "completed");
    }
    assert_eq!(shopper.orders().await.unwrap().len(), accepted.len());
    let admin = shop.admin(&place.password()).await.unwrap();
    let (report, text) = admin.audit().await.unwrap();
    assert!(report.ok, "{text}");
    drop(running);
}
