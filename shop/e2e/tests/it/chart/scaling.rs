//! Replicas by the depth and the age of queues, and the metrics that say so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kit::{Chart, NAMESPACE, component, components, items, repository};
use super::workloads::has;

#[test]
fn replicas_follow_the_depth_and_the_age_of_a_services_queues() {
    let chart = Chart::of("production");
    let metrics = std::fs::read_to_string(repository("docs/metrics.md")).unwrap();
    for name in components() {
        let deployment = chart.find("Deployment", name);
        assert!(
            deployment["spec"]["replicas"].is_null(),
            "KEDA decides alone"
        );
        let spec = &chart.find("ScaledObject", name)["spec"];
        assert_eq!(
            spec["scaleTargetRef"]["name"],
            deployment["metadata"]["name"]
        );
        // Without a replica nobody reports the queue, so no replica would be added.
        assert!(spec["minReplicaCount"].as_u64().unwrap() >= 1, "{name}");
        let triggers: Vec<&Value> = items(&spec["triggers"]).collect();
        assert_eq!(triggers[0]["type"], "cpu");
        if name == shop_registry::GATEWAY {
            assert_eq!(triggers.len(), 1, "it has no queue");
            continue;
        }
        let of = format!("{{namespace=\"{NAMESPACE}\",service=\"{name}\"}}");
        let waiting = "wingbeat_messaging_waiting";
        let oldest = "wingbeat_messaging_oldest_seconds";
        let depth = format!("sum(max by (subscription) ({waiting}{of}))");
        let age = format!("max({oldest}{of})");
        for metric in [waiting, oldest] {
            assert!(metrics.contains(&format!("`{metric}`")), "{metric}");
        }
        let asked = triggers[1..]
            .iter()
            .map(|it| (&it["metadata"]["query"], &it["metricType"]));
        let expected = [
            (json!(depth), json!("AverageValue")),
            (json!(age), json!("Value")),
        ];
        assert!(
            asked.eq(expected.iter().map(|(query, kind)| (query, kind))),
            "{name}"
        );
        for trigger in &triggers[1..] {
            // An unavailable Prometheus must not remove replicas.
            assert_eq!(trigger["metadata"]["ignoreNullValues"], "false");
        }
    }
    let orders = &chart.find("ScaledObject", "orders")["spec"];
    assert_eq!(orders["maxReplicaCount"], 24);
    assert_eq!(orders["triggers"][1]["metadata"]["threshold"], "500");
}

#[test]
fn metrics_of_every_pod_are_scraped_and_keep_their_label_service() {
    let chart = Chart::of("production");
    let spec = &chart.find("ServiceMonitor", "ops")["spec"];
    let endpoint = &spec["endpoints"][0];
    assert_eq!(
        (&endpoint["port"], &endpoint["path"]),
        (&json!("ops"), &json!("/metrics"))
    );
    // The operator's own label would replace it: then no query of ours finds anything.
    assert_eq!(endpoint["honorLabels"], true);
    let selected = chart.all("Service");
    let selected =
        selected.filter(|it| has(&it["metadata"]["labels"], &spec["selector"]["matchLabels"]));
    let services: Vec<&Value> = selected.collect();
    let [service] = services[..] else {
        panic!("{services:?}");
    };
    assert_eq!(
        service["metadata"]["labels"]["app.kubernetes.io/name"],
        "wingbeat"
    );
    assert_eq!(
        spec["jobLabel"], "app.kubernetes.io/name",
        "the job of the alerts"
    );
    assert_eq!(service["spec"]["ports"][0]["name"], "ops");
    let pods = chart
        .pods()
        .into_values()
        .map(|pod| &pod["metadata"]["labels"]);
    let scraped = pods.filter(|labels| has(labels, &service["spec"]["selector"]));
    let scraped: BTreeSet<&str> = scraped.map(component).collect();
    assert_eq!(scraped, components().into_iter().collect());
}

#[test]
fn the_alerts_are_those_of_the_runbook() {
    let text = std::fs::read_to_string(repository("deploy/prometheus/alerts.yaml")).unwrap();
    let alerts: Value = serde_saphyr::from_str(&text).unwrap();
    let chart = Chart::of("production");
    assert_eq!(chart.find("PrometheusRule", "ops")["spec"], alerts);
    let monitor = &chart.find("ServiceMonitor", "ops")["metadata"]["labels"];
    assert_eq!(
        monitor["release"], "prometheus",
        "the labels by which Prometheus selects"
    );
}

#[test]
fn custom_resources_are_made_only_where_their_operators_are() {
    let chart = Chart::of("minimal");
    let custom = chart.objects.iter().filter(|it| {
        let version = it["apiVersion"].as_str().unwrap();
        version.starts_with("keda.sh") || version.starts_with("monitoring.coreos.com")
    });
    assert_eq!(custom.count(), 0);
    for name in components() {
        assert_eq!(
            chart.find("Deployment", name)["spec"]["replicas"],
            2,
            "{name}"
        );
    }
}
