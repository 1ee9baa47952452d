//! Values that are wrong are refused, with the place where they are.

use super::kit::{helm, set};

/// The error of the chart with further values, and nothing if it can be rendered.
fn refused(name: &str, args: &[&str]) -> Option<String> {
    let file = set(name);
    let args: Vec<&str> = ["--values", &file]
        .into_iter()
        .chain(args.to_vec())
        .collect();
    let output = helm("template", &args);
    let error = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(error)
}

#[test]
fn wrong_values_are_refused() {
    for (value, place) in [
        ("replica=3", "replica"),
        ("defaults.replicas=0", "/defaults/replicas"),
        ("services.orders.replicas=two", "/services/orders/replicas"),
        ("services.orders.replica=2", "replica"),
        ("services.Orders.replicas=2", "Orders"),
        ("services.gateway.replicas=2", "'gateway'"),
        ("defaults.strategy=Canary", "/defaults/strategy"),
        (
            "defaults.scaling.minReplicas=0",
            "/defaults/scaling/minReplicas",
        ),
        (
            "defaults.scaling.cpuPercent=200",
            "/defaults/scaling/cpuPercent",
        ),
        ("image.tag=latest", "/image/tag"),
        ("image.digest=sha256:12", "/image/digest"),
        (
            "provider.url=https://user:password@bank.example",
            "/provider/url",
        ),
        ("servers.broker.port=70000", "/servers/broker/port"),
        ("servers.broker.peers=null", "/servers/broker"),
        ("networkPolicy.dns[0].service=a", "/networkPolicy/dns"),
        ("drainDelaySeconds=5s", "/drainDelaySeconds"),
        (
            "disruptionBudget.maxUnavailable=0",
            "/disruptionBudget/maxUnavailable",
        ),
        ("monitoring.interval=often", "/monitoring/interval"),
        ("gateway.service.type=ExternalName", "/gateway/service/type"),
    ] {
        let error = refused("minimal", &["--set", value]);
        let error = error.unwrap_or_else(|| panic!("{value} is accepted"));
        assert!(error.contains(place), "{value}: {error}");
    }
    // An empty list of peers would allow everybody.
    for value in ["servers.store.peers=[]", "networkPolicy.internet=[]"] {
        assert!(
            refused("minimal", &["--set-json", value]).is_some(),
            "{value}"
        );
    }
}

#[test]
fn secrets_are_no_values() {
    for name in [
        "BROKER",
        "STORE",
        "CACHE",
        "SIGNING_KEY",
        "SMTP",
        "OPS_TOKEN",
    ] {
        let name = format!("WINGBEAT_{name}");
        let value = format!("defaults.env.{name}=secret");
        let error = refused("minimal", &["--set", &value]).expect(&name);
        assert!(error.contains(&name), "{error}");
    }
    let value = "services.identity.env.SHOP_ADMIN_PASSWORD=secret";
    assert!(refused("minimal", &["--set", value]).is_some());
    let setting = "services.identity.env.WINGBEAT_LOG=debug";
    assert_eq!(refused("minimal", &["--set", setting]), None);
}

#[test]
fn a_release_without_a_payment_company_is_refused() {
    let error = helm("template", &[]);
    assert!(!error.status.success());
    let error = String::from_utf8(error.stderr).unwrap();
    assert!(error.contains("provider.url is missing"), "{error}");
}

#[test]
fn a_range_of_replicas_that_is_empty_is_refused() {
    let args = ["--set", "services.carts.scaling.minReplicas=9"];
    let error = refused("production", &args).unwrap();
    assert!(
        error.contains("carts: scaling.minReplicas is above"),
        "{error}"
    );
}
