//! The objects fit the published schemas.

use serde_json::{Value, json};

use super::kit::{Chart, SETS, faults, helm, set};

#[test]
fn every_set_of_values_fits_the_schemas() {
    for name in SETS {
        assert_eq!(
            faults(&Chart::of(name).objects),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn the_chart_passes_helms_own_checks() {
    for name in SETS {
        let output = helm("lint", &["--strict", "--values", &set(name)]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}");
        assert!(text.contains("0 chart(s) failed"), "{text}");
    }
}

/// The control: without it, a validation that accepts everything would pass, too.
#[test]
fn the_validation_notices_what_a_schema_does_not_know() {
    let wrong: [(&str, &str, &str, Value); 6] = [
        (
            "Deployment",
            "/spec/template/spec/containers/0",
            "livenesProbe",
            json!({}),
        ),
        ("NetworkPolicy", "/spec/egress/0", "port", json!(53)),
        ("PodDisruptionBudget", "/spec", "maxUnavailable", json!({})),
        ("ScaledObject", "/spec", "minReplicas", json!(1)),
        (
            "ServiceMonitor",
            "/spec/endpoints/0",
            "honorLabel",
            json!(true),
        ),
        (
            "PrometheusRule",
            "/spec/groups/0/rules/0",
            "expression",
            json!("up"),
        ),
    ];
    let mut chart = Chart::of("production");
    for (kind, path, field, value) in &wrong {
        let mut objects = chart.objects.iter_mut();
        let object = objects.find(|it| it["kind"] == *kind).unwrap();
        object.pointer_mut(path).unwrap()[*field] = value.clone();
    }
    let faults = faults(&chart.objects);
    for (kind, ..) in wrong {
        assert!(
            faults.iter().any(|fault| fault.starts_with(kind)),
            "{kind}: {faults:?}"
        );
    }
}
