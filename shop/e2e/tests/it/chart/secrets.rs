//! Secrets are files, each service has its own, and `secrets.sh` makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::kit::repository;
use super::kit::{Chart, RELEASE, SETS, components, container, environment, items, program};

/// The keys of a Secret or ConfigMap, by kind and name.
type Keys = BTreeMap<(String, String), BTreeSet<String>>;

/// The keys of Secrets and ConfigMaps that a pod mounts.
fn mounted(pod: &Value) -> Keys {
    let mut keys = Keys::new();
    for volume in items(&pod["spec"]["volumes"]) {
        let (kind, source, name) = match (&volume["secret"], &volume["configMap"]) {
            (Value::Null, Value::Null) => continue,
            (Value::Null, map) => ("ConfigMap", map, &map["name"]),
            (secret, _) => ("Secret", secret, &secret["secretName"]),
        };
        let items = items(&source["items"]).map(|it| it["key"].as_str().unwrap().to_owned());
        let id = (kind.to_owned(), name.as_str().unwrap().to_owned());
        keys.entry(id).or_default().extend(items);
    }
    keys
}

#[test]
fn secrets_are_files_and_never_arguments_or_variables() {
    for set in SETS {
        for (name, pod) in Chart::of(set).pods() {
            let container = container(pod);
            for word in items(&container["args"]).chain(items(&container["command"])) {
                let word = word.as_str().unwrap();
                assert!(
                    word.chars().all(|it| it.is_ascii_lowercase() || it == '/'),
                    "{word}"
                );
            }
            assert!(container["envFrom"].is_null(), "{name}");
            let mounts = items(&container["mountPath"]).chain(items(&container["volumeMounts"]));
            let mounts: BTreeSet<&str> = mounts.filter_map(|it| it["mountPath"].as_str()).collect();
            for variable in items(&container["env"]) {
                assert!(variable["valueFrom"].is_null(), "{name}: {variable}");
            }
            for (variable, value) in environment(pod) {
                assert!(
                    !value.contains('@') || variable == "WINGBEAT_MAIL_FROM",
                    "{variable}"
                );
                if variable.ends_with("_FILE") {
                    assert!(mounts.iter().any(|it| value.starts_with(it)), "{variable}");
                }
            }
        }
    }
}

#[test]
fn a_service_gets_the_keys_of_its_own_secret_alone() {
    let chart = Chart::of("minimal");
    let pods = chart.pods();
    for name in components() {
        let mut expected = BTreeSet::from(["broker_url", "store_url", "cache_url", "signing_key"]);
        match name {
            "identity" => drop(expected.insert("admin_password")),
            "notifications" => drop(expected.insert("smtp_url")),
            _ => {}
        }
        let keys = mounted(pods[name]);
        let secrets: Vec<_> = keys
            .iter()
            .filter(|((kind, _), _)| kind == "Secret")
            .collect();
        let [((_, secret), found)] = secrets[..] else {
            panic!("{name} has {secrets:?}");
        };
        assert_eq!(*secret, format!("{RELEASE}-{name}"));
        assert!(found.iter().eq(expected.iter()), "{name}: {found:?}");
        let files = environment(pods[name]);
        let files = files
            .values()
            .filter_map(|it| it.strip_prefix("/run/secrets/wingbeat/"));
        assert_eq!(files.collect::<BTreeSet<_>>(), expected, "{name}");
    }
    let keys = mounted(pods["migrate"]);
    assert_eq!(
        keys.len(),
        1,
        "the migration knows the store alone: {keys:?}"
    );
    let payments = mounted(Chart::of("production").pods()["payments"]);
    let own = ("Secret".to_owned(), "payments-from-the-vault".to_owned());
    assert!(payments.contains_key(&own), "{payments:?}");
}

/// Runs both scripts in a copy of `deploy`. Returns the objects that they make.
fn made(smtp: bool) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let deploy = folder.path();
    for file in [
        "secrets.sh",
        "helm/secrets.sh",
        "rabbitmq/definitions.json",
        "redis/users.acl",
    ] {
        std::fs::create_dir_all(deploy.join(file).parent().unwrap()).unwrap();
        std::fs::copy(repository("deploy").join(file), deploy.join(file)).unwrap();
    }
    let mut secrets = Command::new("sh");
    secrets
        .arg(deploy.join("secrets.sh"))
        .env("BROKER_ADDRESS", "amqps://rabbitmq.example:5671/a");
    assert!(secrets.output().unwrap().status.success());
    let url = std::fs::read_to_string(deploy.join("secrets/broker_url_orders")).unwrap();
    assert!(url.starts_with("amqps://orders:"), "{url}");
    assert!(url.ends_with("@rabbitmq.example:5671/a"), "{url}");
    if smtp {
        std::fs::write(deploy.join("secrets/smtp_url"), "smtp://mail.example.com").unwrap();
    }
    let mut make = Command::new("sh");
    make.arg(deploy.join("helm/secrets.sh")).arg(RELEASE);
    make.env("KUBECTL", program("kubectl"))
        .env("KUBECONFIG", deploy.join("none"));
    let output = make.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects.into_iter().filter(Value::is_object).collect()
}

#[test]
fn the_script_makes_every_key_that_pods_mount() {
    let keys = |objects: &[Value]| -> Keys {
        let keys = objects.iter().map(|object| {
            let id = [&object["kind"], &object["metadata"]["name"]];
            let [kind, name] = id.map(|it| it.as_str().unwrap().to_owned());
            let data = object["data"].as_object().unwrap();
            ((kind, name), data.keys().cloned().collect())
        });
        keys.collect()
    };
    for (set, smtp) in [("minimal", true), ("dev", false)] {
        let objects = made(smtp);
        assert_eq!(super::kit::faults(&objects), Vec::<String>::new());
        let made = keys(&objects);
        let trusted = &made[&("ConfigMap".to_owned(), format!("{RELEASE}-trusted"))];
        let expected = components().into_iter().map(|name| format!("{name}.pub"));
        assert_eq!(*trusted, expected.collect());
        for (name, pod) in Chart::of(set).pods() {
            for (id, mounted) in mounted(pod) {
                let found = made.get(&id).unwrap_or_else(|| panic!("{name}: {id:?}"));
                assert!(
                    found.is_superset(&mounted),
                    "{name}: {id:?} lacks {mounted:?}"
                );
            }
        }
    }
}
