//! One Deployment for each service, with probes and budgets, and no more privileges than it needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kit::{Chart, SETS, component, components, container, environment, items, repository};

/// The limits of `wingbeat::run` and of the gateway: requests that have begun, and messages.
const ANSWERS_SECONDS: u64 = 20;
const DRAIN_SECONDS: u64 = 10;

#[test]
fn each_service_of_the_registry_has_a_deployment_and_a_budget() {
    for set in SETS {
        let chart = Chart::of(set);
        let mut expected: BTreeSet<&str> = components().into_iter().collect();
        for kind in ["PodDisruptionBudget", "Deployment"] {
            if kind == "Deployment" && set == "dev" {
                expected.insert(shop_registry::PROVIDER);
            }
            let found = chart
                .all(kind)
                .map(|it| component(&it["metadata"]["labels"]));
            assert_eq!(found.collect::<BTreeSet<_>>(), expected, "{set}: {kind}");
        }
        for name in components() {
            let deployment = chart.find("Deployment", name);
            let labels = &deployment["spec"]["template"]["metadata"]["labels"];
            for (kind, selector) in [
                ("Deployment", "/spec/selector/matchLabels"),
                ("PodDisruptionBudget", "/spec/selector/matchLabels"),
                ("Service", "/spec/selector"),
            ] {
                let selector = chart.find(kind, name).pointer(selector).unwrap();
                assert_eq!(component(selector), name, "{kind}");
                assert!(has(labels, selector), "{kind} {name} selects its pods");
            }
            assert_eq!(
                container(&deployment["spec"]["template"])["args"],
                json!([name])
            );
            let budget = chart.find("PodDisruptionBudget", name);
            assert_eq!(budget["spec"]["maxUnavailable"], 1);
        }
    }
}

/// Returns `true` if the labels have all pairs of the selector.
pub(crate) fn has(labels: &Value, selector: &Value) -> bool {
    let mut pairs = selector.as_object().unwrap().iter();
    pairs.all(|(key, value)| labels[key] == *value)
}

#[test]
fn probes_ask_the_port_that_the_service_answers() {
    let chart = Chart::of("minimal");
    for name in components() {
        let container = container(chart.pods()[name]);
        for (probe, path) in [
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ] {
            let get = &container[probe]["httpGet"];
            assert_eq!((&get["path"], &get["port"]), (&json!(path), &json!("http")));
        }
        let ports = items(&container["ports"]).map(|it| (&it["name"], &it["containerPort"]));
        let expected = [(json!("http"), json!(8080)), (json!("ops"), json!(9464))];
        assert!(
            ports.eq(expected.iter().map(|(name, port)| (name, port))),
            "{name}"
        );
    }
    // The image listens on these ports.
    let recipe = std::fs::read_to_string(repository("deploy/Dockerfile")).unwrap();
    let listens = "WINGBEAT_LISTEN=0.0.0.0:8080 WINGBEAT_OPS_LISTEN=0.0.0.0:9464";
    assert!(recipe.contains(listens));
}

#[test]
fn a_pod_has_time_to_drain() {
    for (delay, args) in [(5, vec![]), (30, vec!["--set", "drainDelaySeconds=30"])] {
        let chart = Chart::with("minimal", &args);
        for name in components() {
            let pod = chart.pods()[name];
            let grace = pod["spec"]["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap();
            assert!(grace > delay + ANSWERS_SECONDS + DRAIN_SECONDS, "{grace} s");
            let delays = environment(pod)["WINGBEAT_DRAIN_DELAY"];
            assert_eq!(delays, format!("{delay}s"));
        }
    }
}

#[test]
fn no_pod_has_privileges() {
    for set in SETS {
        let chart = Chart::of(set);
        for (name, pod) in chart.pods() {
            let spec = &pod["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
            assert_eq!(spec["enableServiceLinks"], false, "{name}");
            assert_eq!(spec["serviceAccountName"], format!("shop-{name}"));
            chart.find("ServiceAccount", name);
            let security = &spec["securityContext"];
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert_eq!(security["runAsUser"], 65532, "the user of the image");
            assert_eq!(
                security["seccompProfile"],
                json!({"type": "RuntimeDefault"})
            );
            let container = container(pod);
            let expected = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], expected, "{name}");
            let resources = &container["resources"];
            assert!(resources["limits"]["memory"].is_string(), "{name}");
            assert!(resources["requests"]["cpu"].is_string(), "{name}");
            for volume in items(&spec["volumes"]) {
                assert!(volume["hostPath"].is_null(), "{name}");
            }
        }
    }
}

/// Settings that are misspelled would be ignored.
#[test]
fn every_variable_is_a_documented_setting() {
    let pages = ["containers", "distributed", "programs", "security", "tls"]
        .map(|page| std::fs::read_to_string(repository(&format!("docs/{page}.md"))).unwrap());
    let compose = std::fs::read_to_string(repository("deploy/compose.yaml")).unwrap();
    let known = |text: &str| compose.contains(text) || pages.iter().any(|it| it.contains(text));
    for set in SETS {
        let chart = Chart::of(set);
        for (name, pod) in chart.pods() {
            for variable in environment(pod).into_keys() {
                let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
                let key = plain.strip_prefix("WINGBEAT_").unwrap_or(plain);
                let flag = format!("`--{}`", key.to_lowercase().replace('_', "-"));
                let service = plain.strip_prefix("WINGBEAT_URL_").map(str::to_lowercase);
                let is_url = service.is_some_and(|it| shop_registry::NAMES.contains(&&*it));
                assert!(is_url || known(plain) || known(&flag), "{name}: {variable}");
            }
        }
    }
}

#[test]
fn the_gateway_finds_every_service() {
    let chart = Chart::of("minimal");
    let pods = chart.pods();
    let variables = environment(pods["gateway"]);
    for name in shop_registry::NAMES {
        let url = variables[&*format!("WINGBEAT_URL_{}", name.to_uppercase())];
        assert_eq!(url, format!("http://shop-{name}:8080"));
        let ports = &chart.find("Service", name)["spec"]["ports"];
        assert_eq!(ports[0]["port"], 8080, "{name}");
    }
    let gateway = &Chart::of("production").find("Service", "gateway")["spec"].clone();
    assert_eq!(gateway["type"], "LoadBalancer");
    assert_eq!(
        gateway["externalTrafficPolicy"], "Local",
        "it keeps client addresses"
    );
}

#[test]
fn jobs_run_before_the_release_and_have_what_they_need_by_then() {
    let chart = Chart::of("production");
    let weight = |kind: &'static str, name: &str| {
        let annotations = &chart.find(kind, name)["metadata"]["annotations"];
        assert_eq!(
            annotations["helm.sh/hook"], "pre-install,pre-upgrade",
            "{name}"
        );
        let weight = annotations["helm.sh/hook-weight"].as_str().unwrap();
        weight.parse::<i32>().unwrap()
    };
    for job in ["migrate", "topology"] {
        assert!(weight("ServiceAccount", job) < weight("Job", job), "{job}");
        assert!(weight("NetworkPolicy", job) < weight("Job", job), "{job}");
    }
    assert!(weight("Job", "migrate") < weight("Job", "topology"));
    let pods = chart.pods();
    let migrate = container(pods["migrate"]);
    let line = (&migrate["command"], &migrate["args"]);
    assert_eq!(line, (&json!(["/shop"]), &json!(["migrate"])));
    let topology = &container(pods["topology"])["args"];
    assert_eq!(*topology, json!(["topology", "apply"]));
    let variables = environment(pods["migrate"]);
    assert_eq!(variables["WINGBEAT_GRANT_TO"], "{service}");
    assert_eq!(variables["WINGBEAT_GRANT_READ_TO"], "gateway");
    let minimal = Chart::of("minimal");
    assert_eq!(minimal.all("Job").count(), 1, "the topology is imported");
}

#[test]
fn values_of_a_service_override_the_defaults() {
    let chart = Chart::of("production");
    let pods = chart.pods();
    assert_eq!(
        environment(pods["orders"])["WINGBEAT_LOG"],
        "info,shop_orders=debug"
    );
    assert!(!environment(pods["carts"]).contains_key("WINGBEAT_LOG"));
    let strategy = |name| &chart.find("Deployment", name)["spec"]["strategy"]["type"];
    assert_eq!(strategy("shipping"), "Recreate");
    assert_eq!(strategy("orders"), "RollingUpdate");
    assert_eq!(
        pods["shipping"]["spec"]["nodeSelector"],
        json!({"disk": "ssd"})
    );
    let limits = |name| &container(pods[name])["resources"]["limits"]["memory"];
    assert_eq!(
        (limits("gateway"), limits("orders")),
        (&json!("512Mi"), &json!("256Mi"))
    );
    let image = container(pods["orders"])["image"].as_str().unwrap();
    assert!(
        image.starts_with("registry.example.com/shop@sha256:"),
        "{image}"
    );
}
