//! Starting and stopping, as a user does it.

use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use shop_client::Order;

use shop_e2e::process::{Place, binary};

fn output(place: &Place, more: &[&str]) -> Output {
    let mut command = place.command();
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    command.args(more).output().unwrap()
}

/// Exit code 2 and one line on stderr that says what is in the way.
pub(crate) fn refuses(output: &Output, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("shop: ") && stderr.contains(words),
        "{stderr}"
    );
}

#[tokio::test]
async fn what_is_in_the_way_is_told_in_one_line() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path());
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let mut command = std::process::Command::new(binary());
    let command = command
        .args(["--listen", &address])
        .arg("--data")
        .arg(data.path());
    refuses(&command.output().unwrap(), "cannot listen on");

    let running = place.start().await;
    let other = Place::new(data.path());
    refuses(&output(&other, &[]), "is in use by another process");
    drop(running);

    let spans = Place::new(data.path()).with("WINGBEAT_OTLP", "http://127.0.0.1:1");
    refuses(
        &output(&spans, &[]),
        "WINGBEAT_OTLP: this program sends no spans",
    );

    let wrong = other.with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "soon");
    refuses(&output(&wrong, &[]), "WINGBEAT_SHIPPING_DISPATCH_AFTER");
}

#[tokio::test]
async fn a_shop_that_is_told_to_end_ends_with_nothing_lost() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path());
    let running = place.start().await;
    let shopper = place.shop().shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let mut placed = Vec::new();
    for _ in 0..50 {
        placed.push(shopper.place(&order, Duration::from_secs(5)).await.unwrap());
    }
    let told = Instant::now();
    assert_eq!(running.terminate().code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );

    let running = place.start().await;
    for placed in placed {
        let ended = shopper
            .wait_ended(&placed.order_id, Duration::from_secs(30))
            .await;
        assert_eq!(ended.unwrap().status, "completed");
    }
    drop(running);
}
