//! What containers will find, without an engine for them: the compose file, the images' recipe, and the program in
//! their conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use shop_client::Shop;
use shop_client::http::Call;
use shop_e2e::cell::Cell;
use shop_e2e::fleet::Servers;
use shop_e2e::process::{binary, free_port};
use shop_e2e::scrape::catalogue;

use crate::start::refuses;

/// How long a process may take until it is ready, and until it is not any more.
const WITHIN: Duration = Duration::from_secs(30);
/// The servers that services run on.
const SERVERS: [&str; 3] = ["broker", "store", "cache"];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(deploy(file)).unwrap()
}

/// The client that reads compose files: a plugin of Docker's, or the program that Debian has.
fn compose() -> Command {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    if plugin.is_ok_and(|it| it.status.success()) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    Command::new("docker-compose")
}

/// The compose file as the client understands it.
fn composed() -> Value {
    let mut client = compose();
    let output = client.arg("-f").arg(deploy("compose.yaml")).arg("config");
    let output = output.output().expect("docker-compose is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(told.trim(), "", "the client warns");
    serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// All that `shop run` can run, by its own word.
fn roles() -> Vec<String> {
    let output = Command::new(binary()).args(["run", "nobody"]).output();
    let told = String::from_utf8(output.unwrap().stderr).unwrap();
    let (_, names) = told.trim().split_once("there are: ").expect("a list");
    names.split(", ").map(str::to_owned).collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn every_service_is_composed_from_an_image_of_its_own_and_has_no_more_than_it_needs() {
    let composed = composed();
    let recipe = read("Dockerfile");
    let roles = roles();
    let known = [shop_registry::GATEWAY, shop_registry::PROVIDER];
    let known: Vec<&str> = shop_registry::NAMES.into_iter().chain(known).collect();
    assert_eq!(roles, known, "`shop run` offers what the registry lists");
    for role in &roles {
        let service = &composed["services"][role];
        assert_eq!(service["build"]["target"], **role, "{role} is composed");
        let stage = format!("FROM runtime AS {role}\n");
        let stage = recipe.split_once(&stage).expect(role).1;
        let stage = stage.split("\nFROM ").next().unwrap();
        assert!(
            stage.contains(&format!("CMD [\"{role}\"]")),
            "{role}: {stage}"
        );
        assert_eq!(service["read_only"], true, "{role}");
        assert_eq!(
            texts(&service["cap_drop"]),
            ["ALL".to_owned()].into(),
            "{role}"
        );
        let options = texts(&service["security_opt"]);
        assert!(options.contains("no-new-privileges:true"), "{role}");
        assert!(
            service["privileged"].is_null() && service["user"].is_null(),
            "{role}"
        );
        assert_eq!(service["ports"].is_null(), role != "gateway", "{role}");
        waits_for_what_it_needs(role, service);
        secrets_are_files(role, service, &composed["secrets"]);
    }
    let others = composed["services"].as_object().unwrap().keys();
    let others: BTreeSet<&str> = others
        .map(String::as_str)
        .filter(|it| !roles.iter().any(|role| role == it))
        .collect();
    assert_eq!(others, SERVERS.into());
    for server in SERVERS {
        let service = &composed["services"][server];
        assert!(
            service["healthcheck"]["test"].is_array(),
            "{server} says when it is ready"
        );
        assert!(service["ports"].is_null(), "{server} is nobody's outside");
    }
}

fn waits_for_what_it_needs(role: &str, service: &Value) {
    let needs = service["depends_on"].as_object();
    let needs: BTreeMap<&str, &Value> = needs
        .into_iter()
        .flatten()
        .map(|(name, how)| (name.as_str(), &how["condition"]))
        .collect();
    if role == "provider" {
        assert!(needs.is_empty(), "the provider is an outside company");
        return;
    }
    for server in SERVERS {
        assert!(needs.contains_key(server), "{role} waits for {server}");
    }
    let healthy = Value::from("service_healthy");
    assert!(
        needs.values().all(|how| **how == healthy),
        "{role}: {needs:?}"
    );
    // Whoever is waited for says by itself when it is ready.
    assert!(
        !needs.contains_key("provider"),
        "the provider has no health check"
    );
}

/// Nothing secret is in the environment, and what is named there is given, and made by `secrets.sh`.
fn secrets_are_files(role: &str, service: &Value, declared: &Value) {
    let given = service["secrets"].as_array().into_iter().flatten();
    let given: BTreeSet<&str> = given
        .filter_map(|it| it["source"].as_str().or(it.as_str()))
        .collect();
    let environment = service["environment"].as_object().unwrap();
    let admin = given.contains("admin_password");
    assert_eq!(admin, role == "identity", "{role} and the admin's password");
    for (name, value) in environment {
        let value = value.as_str().unwrap_or_default();
        match value.strip_prefix("/run/secrets/") {
            Some(file) => {
                assert!(name.ends_with("_FILE"), "{role}: {name}");
                assert!(given.contains(file), "{role} is not given {file}");
            }
            None => assert!(!value.contains('@'), "{role}: {name} looks like a secret"),
        }
    }
    for secret in given {
        let file = declared[secret]["file"].as_str().unwrap_or_default();
        assert!(
            file.ends_with(&format!("secrets/{secret}")),
            "{secret}: {file}"
        );
    }
}

#[test]
fn the_images_run_as_nobody_say_when_they_are_ready_and_nothing_sleeps() {
    let recipe = read("Dockerfile");
    let runtime = recipe.split_once(" AS runtime\n").unwrap();
    let base = runtime.0.lines().last().unwrap();
    assert!(base.ends_with(":nonroot"), "{base}");
    assert!(!recipe.contains("USER "), "the base's user stays");
    let provider = recipe.split_once("FROM runtime AS provider\n").unwrap().1;
    let volume = "--chown=65532:65532 /empty /data";
    assert!(provider.contains(volume), "it may write to its volume");
    assert!(runtime.1.contains("CMD [\"/shop\", \"ready\"]"));
    for file in ["Dockerfile", "compose.yaml", "secrets.sh"] {
        assert!(!read(file).contains("sleep"), "{file}");
    }
}

#[test]
fn the_secrets_that_are_composed_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    std::fs::copy(deploy("secrets.sh"), &script).unwrap();
    let run = || Command::new("sh").arg(&script).output().unwrap();
    assert!(run().status.success());
    let secret = |name: &str| std::fs::read_to_string(folder.path().join("secrets").join(name));
    let composed = composed();
    for name in composed["secrets"].as_object().unwrap().keys() {
        assert!(secret(name).is_ok_and(|it| it.len() > 20), "{name} is made");
    }
    let (url, password) = (
        secret("store_url").unwrap(),
        secret("store_password").unwrap(),
    );
    assert!(url.contains(&password), "the URL has the password");
    assert!(run().status.success());
    assert_eq!(
        secret("store_password").unwrap(),
        password,
        "what is there stays"
    );
}

/// A process in a cell; dropped, it is killed.
struct Confined(Child);

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn confined(cell: &Cell, args: &[&str]) -> Confined {
    let mut command = cell.command(args);
    Confined(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bwrap is installed"),
    )
}

/// `shop ready` in the cell.
fn asked(cell: &Cell) -> Output {
    cell.command(&["ready"]).output().unwrap()
}

/// Until `shop ready` says so, or the opposite; what it says.
fn until(cell: &Cell, ready: bool) -> String {
    let end = Instant::now() + WITHIN;
    loop {
        let output = asked(cell);
        let told = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) if ready => return told,
            Some(1) if !ready => return told,
            Some(0 | 1) => {}
            code => panic!("{code:?}: {told}"),
        }
        assert!(Instant::now() < end, "{told}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cell(servers: &Servers, port: u16) -> Cell {
    let cell = Cell::default()
        .with("WINGBEAT_LISTEN", &format!("127.0.0.1:{port}"))
        .with("WINGBEAT_OPS_LISTEN", "127.0.0.1:0")
        .with("WINGBEAT_DATA", "/data")
        .with("WINGBEAT_LOG", "error");
    servers
        .settings()
        .iter()
        .fold(cell, |cell, (name, url)| cell.secret(name, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_serves_from_a_read_only_root_as_nobody_and_its_health_check_tells() {
    let servers = Servers::start().await;
    let port = free_port();
    let cell = cell(&servers, port).secret("SHOP_ADMIN_PASSWORD", "a password of a container");
    let told = asked(&cell);
    assert_eq!(told.status.code(), Some(1), "nobody listens yet");
    assert!(String::from_utf8_lossy(&told.stderr).contains("nobody answers"));

    let _identity = confined(&cell, &["run", "identity"]);
    assert_eq!(until(&cell, true), "");
    let shop = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    shop.admin("a password of a container")
        .await
        .expect("the admin signs in");
    assert_eq!(shop.ask(&Call::get("/readyz")).await.unwrap().status, 200);

    tokio::task::block_in_place(|| servers.store.stop());
    // At first it may only say that nobody answers in time.
    let end = Instant::now() + WITHIN;
    let mut told = until(&cell, false);
    while !told.contains("PostgreSQL") {
        assert!(Instant::now() < end, "{told}");
        std::thread::sleep(Duration::from_millis(100));
        told = until(&cell, false);
    }
    assert_eq!(told.lines().count(), 1, "{told}");
    tokio::task::block_in_place(|| servers.store.start_again());
    until(&cell, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_container_the_program_says_in_one_line_what_it_lacks() {
    let servers = Servers::start().await;
    let run = |cell: &Cell, args: &[&str]| cell.command(args).output().unwrap();
    let missing = cell(&servers, 0).with("SHOP_ADMIN_PASSWORD_FILE", "/run/secrets/no_such_file");
    refuses(
        &run(&missing, &["run", "identity"]),
        "SHOP_ADMIN_PASSWORD_FILE: /run/secrets/no_such_file cannot be read",
    );

    let hidden = cell(&servers, 0);
    hidden.hide("wingbeat_store");
    refuses(
        &run(&hidden, &["run", "orders"]),
        "WINGBEAT_STORE_FILE: /run/secrets/wingbeat_store cannot be read: Permission denied",
    );

    let complete = cell(&servers, 0);
    refuses(&run(&complete, &["run", "identity"]), "SHOP_ADMIN_PASSWORD");
    refuses(&run(&complete, &["run", "payments"]), "--provider");
    refuses(&run(&complete, &["run", "notifications"]), "SMTP");

    let elsewhere = Cell::default()
        .with("WINGBEAT_DATA", "/elsewhere")
        .with("WINGBEAT_LISTEN", "127.0.0.1:0");
    refuses(
        &run(&elsewhere, &["run", "provider"]),
        "/elsewhere: Read-only file system",
    );
}

#[tokio::test]
async fn the_provider_keeps_its_ledger_where_it_may_write() {
    let port = free_port();
    let cell = Cell::default()
        .with_data()
        .with("WINGBEAT_DATA", "/data")
        .with("WINGBEAT_LISTEN", &format!("127.0.0.1:{port}"));
    let _provider = confined(&cell, &["run", "provider"]);
    let provider = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    let end = Instant::now() + WITHIN;
    while provider.ask(&Call::get("/healthz")).await.is_err() {
        assert!(Instant::now() < end, "it does not serve");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prometheus' files beside them: every service is scraped where it listens, and alerts ask for what there is.
#[test]
fn prometheus_scrapes_every_service_and_alerts_on_metrics_that_are_told() {
    let mut client = compose();
    for file in ["compose.yaml", "prometheus/compose.yaml"] {
        client.arg("-f").arg(deploy(file));
    }
    let output = client.args(["config", "-q"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");

    let scraped: Value = serde_saphyr::from_str(&read("prometheus/prometheus.yaml")).unwrap();
    let found = &scraped["scrape_configs"][0]["dns_sd_configs"][0];
    let mut services: BTreeSet<String> = roles().into_iter().collect();
    services.remove("provider"); // An outside company tells us nothing.
    assert_eq!(texts(&found["names"]), services);
    let exposed = format!("EXPOSE 8080 {}\n", found["port"]);
    assert!(read("Dockerfile").contains(&exposed), "{exposed}");

    let rules: Value = serde_saphyr::from_str(&read("prometheus/alerts.yaml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 8);
    let catalogue = catalogue();
    for rule in rules {
        let asked = rule["expr"].as_str().unwrap();
        let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("wingbeat_")) {
            assert!(
                catalogue.contains_key(name),
                "{name} is not in docs/metrics.md"
            );
        }
        assert!(rule["annotations"]["summary"].is_string(), "{asked}");
    }
}
