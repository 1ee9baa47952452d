//! Starting and ending the shop in one process.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use shop_client::Order;
use shop_e2e::process::{Place, binary};
use shop_e2e::wait::BOUND;

fn output(place: &Place) -> Output {
    let mut command = place.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().unwrap()
}

/// Checks for exit code 2 and one line on stderr that contains all these words, and no password.
pub(crate) fn assert_refused(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("shop: "), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in {stderr}");
    }
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[tokio::test]
async fn a_reason_not_to_start_is_reported_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let place = Place::new(data.path());
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let mut command = Command::new(binary());
    command.args(["--listen", &address, "--data", folder]);
    assert_refused(&command.output().unwrap(), &[&address]);

    let running = place.start().await;
    let other = Place::new(data.path());
    assert_refused(&output(&other), &["data_in_use"]);
    drop(running);

    let spans = Place::new(data.path()).with("WINGBEAT_OTLP", "http://127.0.0.1:1");
    assert_refused(&output(&spans), &["WINGBEAT_OTLP", "otlp"]);

    let nobody = Place::new(data.path()).with("WINGBEAT_URL_PAYMENT", "http://127.0.0.1:1");
    let parts = ["WINGBEAT_URL_PAYMENT names no service", "payments"];
    assert_refused(&output(&nobody), &parts);

    for weak in ["", "short", "password123"] {
        let weak = Place::new(data.path()).with("SHOP_ADMIN_PASSWORD", weak);
        assert_refused(&output(&weak), &["SHOP_ADMIN_PASSWORD is not"]);
    }

    let file = data.path().join("admin-password");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "short\n").unwrap();
    assert_refused(&output(&Place::new(data.path())), &["admin-password"]);
    std::fs::write(&file, kept).unwrap();

    let wrong = other.with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "soon");
    assert_refused(
        &output(&wrong),
        &["WINGBEAT_SHIPPING_DISPATCH_AFTER", "soon"],
    );
}

#[tokio::test]
async fn a_terminated_shop_ends_with_success_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("1s");
    let running = place.start().await;
    let shopper = place.shop().shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let mut placed = Vec::new();
    for _ in 0..50 {
        placed.push(shopper.place(&order, BOUND).await.unwrap());
    }
    assert_eq!(running.terminate().code(), Some(0));

    let running = place.start().await;
    for placed in placed {
        let ended = shopper.wait_ended(&placed.order_id, BOUND).await;
        assert_eq!(ended.unwrap().status, "completed");
    }
    drop(running);
}
