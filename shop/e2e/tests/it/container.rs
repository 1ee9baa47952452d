//! Containers, tested without a container engine: the compose file, the Dockerfile, and the program
//! in a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use shop_client::Shop;
use shop_client::http::Call;
use shop_e2e::fleet::SERVICES;
use shop_e2e::process::{binary, free_port};
use shop_e2e::sandbox::Sandbox;
use shop_e2e::servers::Servers;
use shop_e2e::wait::{check, until};

use crate::start::assert_refused;

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

/// The client that reads compose files: Docker's plugin, or Debian's program.
fn compose() -> Command {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    if plugin.is_ok_and(|it| it.status.success()) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return command;
    }
    Command::new("docker-compose")
}

/// The compose file as the client reads it.
fn composed() -> Value {
    let mut client = compose();
    let output = client.arg("-f").arg(deploy("compose.yaml")).arg("config");
    let output = output.output().expect("docker-compose is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.trim(), "", "the client warns");
    serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// The roles that `shop run` lists when it does not know one.
fn roles() -> Vec<String> {
    let output = Command::new(binary()).args(["run", "nobody"]).output();
    let error = String::from_utf8(output.unwrap().stderr).unwrap();
    let (_, names) = error.trim().split_once("there are: ").expect("a list");
    let names = names.split(';').next().unwrap_or_default(); // Other faults follow.
    let roles: Vec<String> = names.split(", ").map(str::to_owned).collect();
    let expected = SERVICES.into_iter().chain(["gateway", "provider"]);
    assert!(roles.iter().eq(expected), "{error}");
    roles
}

fn texts(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn each_service_has_an_image_and_no_more_privileges_than_it_needs() {
    let composed = composed();
    let recipe = read("Dockerfile");
    let roles = roles();
    for role in &roles {
        let service = &composed["services"][role];
        assert_eq!(
            service["build"]["target"], **role,
            "{role} is in the compose file"
        );
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
    let mut expected: BTreeSet<&str> = SERVERS.into();
    expected.insert("migrate");
    assert_eq!(others, expected);
    for server in SERVERS {
        let service = &composed["services"][server];
        assert!(
            service["healthcheck"]["test"].is_array(),
            "{server} has a health check"
        );
        assert!(
            service["ports"].is_null(),
            "{server} is not reachable from outside"
        );
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
        assert!(needs.is_empty(), "the provider belongs to another company");
        return;
    }
    for server in SERVERS {
        assert!(needs.contains_key(server), "{role} waits for {server}");
    }
    assert!(needs.contains_key("migrate"), "{role} finds its schema");
    for (name, how) in &needs {
        let condition = match *name {
            "migrate" => "service_completed_successfully",
            _ => "service_healthy",
        };
        assert_eq!(**how, condition, "{role} waits for {name}");
    }
    // Only a service with a health check can be waited for.
    assert!(
        !needs.contains_key("provider"),
        "the provider has no health check"
    );
}

/// No secret is in the environment, and each secret that it names is mounted and made by
/// `secrets.sh`.
fn secrets_are_files(role: &str, service: &Value, declared: &Value) {
    let given = service["secrets"].as_array().into_iter().flatten();
    let given: BTreeMap<&str, &str> = given
        .filter_map(|it| Some((it["target"].as_str()?, it["source"].as_str()?)))
        .collect();
    let environment = service["environment"].as_object().unwrap();
    let admin = given.contains_key("admin_password");
    assert_eq!(admin, role == "identity", "{role} and the admin's password");
    if role != "provider" {
        // Its own users and its own key, and nobody else's.
        let own = ["broker_url", "store_url", "cache_url", "signing_key"];
        let own = own.map(|it| (it, format!("{it}_{role}")));
        let others = given
            .iter()
            .filter(|(target, _)| **target != "admin_password");
        let found: BTreeMap<&str, String> = others
            .map(|(target, source)| (*target, (*source).to_owned()))
            .collect();
        assert_eq!(found, own.into(), "{role}");
    }
    for (name, value) in environment {
        let value = value.as_str().unwrap_or_default();
        match value.strip_prefix("/run/secrets/") {
            Some(file) => {
                assert!(name.ends_with("_FILE"), "{role}: {name}");
                assert!(given.contains_key(file), "{role} is not given {file}");
            }
            None => assert!(!value.contains('@'), "{role}: {name} looks like a secret"),
        }
    }
    for secret in given.into_values() {
        let file = declared[secret]["file"].as_str().unwrap_or_default();
        assert!(
            file.ends_with(&format!("secrets/{secret}")),
            "{secret}: {file}"
        );
    }
}

#[test]
fn images_run_unprivileged_with_a_health_check_and_without_sleeps() {
    let recipe = read("Dockerfile");
    let runtime = recipe
        .split_once("FROM ${RUNTIME_IMAGE} AS runtime\n")
        .unwrap();
    let mut arguments = recipe
        .lines()
        .filter(|line| line.starts_with("ARG RUNTIME_IMAGE="));
    let base = arguments.next().unwrap();
    assert!(base.ends_with(":nonroot"), "{base}");
    assert!(
        !recipe.contains("USER "),
        "the user of the base image stays"
    );
    let provider = recipe.split_once("FROM runtime AS provider\n").unwrap().1;
    let volume = "--chown=65532:65532 /empty /data";
    assert!(
        provider.contains(volume),
        "the provider may write to its volume"
    );
    assert!(runtime.1.contains("CMD [\"/shop\", \"ready\"]"));
    for file in ["Dockerfile", "compose.yaml", "secrets.sh"] {
        assert!(!read(file).contains("sleep"), "{file}");
    }
}

#[test]
fn secrets_sh_makes_each_secret_of_the_compose_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    std::fs::create_dir(folder.path().join("rabbitmq")).unwrap();
    std::fs::create_dir(folder.path().join("redis")).unwrap();
    for file in ["secrets.sh", "rabbitmq/definitions.json", "redis/users.acl"] {
        std::fs::copy(deploy(file), folder.path().join(file)).unwrap();
    }
    let run = || Command::new("sh").arg(&script).output().unwrap();
    assert!(run().status.success());
    let secret = |name: &str| std::fs::read_to_string(folder.path().join("secrets").join(name));
    let composed = composed();
    for name in composed["secrets"].as_object().unwrap().keys() {
        assert!(secret(name).is_ok_and(|it| it.len() > 20), "{name} is made");
    }
    for server in ["broker", "store", "cache"] {
        let url = secret(&format!("{server}_url_orders")).unwrap();
        let password = secret(&format!("{server}_password_orders")).unwrap();
        assert!(url.contains(&password), "the URL contains the password");
    }
    for users in ["broker_definitions", "cache_acl"] {
        assert!(!secret(users).unwrap().contains("@orders@"), "{users}");
    }
    let made = |name: &str| secret(name).unwrap();
    let (password, key) = (made("store_password_orders"), made("signing_key_orders"));
    assert!(run().status.success());
    let kept = (made("store_password_orders"), made("signing_key_orders"));
    assert_eq!(kept, (password, key), "existing secrets stay");
}

/// Runs the script with a `docker` that knows a digest for every image.
#[test]
fn images_can_be_pinned_by_digest() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |file: &str| folder.path().join(file);
    for file in ["pin.sh", "compose.yaml"] {
        std::fs::copy(deploy(file), in_folder(file)).unwrap();
    }
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let docker = format!(
        "#!/bin/sh\nif [ \"$1\" = image ]; then for it; do :; done; echo \"${{it%%:*}}@{digest}\"; fi\n"
    );
    std::fs::create_dir(in_folder("bin")).unwrap();
    std::fs::write(in_folder("bin/docker"), docker).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(in_folder("bin/docker"), executable).unwrap();
    let path = format!(
        "{}:{}",
        in_folder("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let pinned = Command::new("sh")
        .arg(in_folder("pin.sh"))
        .env("PATH", path)
        .output();
    let pinned = pinned.unwrap();
    assert!(pinned.status.success(), "{pinned:?}");

    let env = std::fs::read_to_string(in_folder(".env")).unwrap();
    let recipe = read("Dockerfile");
    let lines = recipe.lines().filter(|line| line.starts_with("FROM "));
    let foreign = lines.filter(|line| !line.starts_with("FROM runtime "));
    assert!(
        foreign.clone().all(|line| line.starts_with("FROM ${")),
        "{recipe}"
    );
    let compose = read("compose.yaml");
    let images = compose
        .lines()
        .filter(|line| line.trim().starts_with("image: "));
    let variables = images.chain(foreign).map(|line| {
        let (_, name) = line
            .split_once("${")
            .unwrap_or_else(|| panic!("{line} is not pinned"));
        name.split([':', '}']).next().unwrap()
    });
    let mut count = 0;
    for name in variables {
        let line = env
            .lines()
            .find(|line| line.starts_with(&format!("{name}=")));
        assert!(
            line.is_some_and(|line| line.ends_with(&digest)),
            "{name}: {env}"
        );
        count += 1;
    }
    assert_eq!(count, 5);
}

/// A process in a sandbox. Dropping it kills it.
struct Confined(Child);

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn confined(sandbox: &Sandbox, args: &[&str]) -> Confined {
    let mut command = sandbox.command(args);
    Confined(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bwrap is installed"),
    )
}

/// The exit code and the error line of the health check in the sandbox.
fn health_check(sandbox: &Sandbox) -> (Option<i32>, String) {
    let output = sandbox.command(&["ready"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), error)
}

/// Waits until the health check ends with this code and an error with this word.
async fn health_is(sandbox: &Sandbox, code: i32, word: &str) {
    until("the health check", async || {
        let (found, error) = health_check(sandbox);
        assert!(matches!(found, Some(0 | 1)), "{found:?}: {error}");
        assert!(error.lines().count() <= 1, "{error}");
        let expected = found == Some(code) && error.contains(word);
        check(expected, format_args!("{found:?}: {error}"))
    })
    .await;
}

fn sandbox(settings: &[(String, String)], port: u16) -> Sandbox {
    let sandbox = Sandbox::default()
        .with("WINGBEAT_LISTEN", &format!("127.0.0.1:{port}"))
        .with("WINGBEAT_OPS_LISTEN", "127.0.0.1:0")
        .with("WINGBEAT_DATA", "/data")
        .with("WINGBEAT_LOG", "error");
    let urls = settings.iter();
    urls.fold(sandbox, |sandbox, (name, url)| sandbox.secret(name, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_runs_unprivileged_on_a_read_only_root_and_its_health_check_follows_the_store() {
    let servers = Servers::private().await;
    let port = free_port();
    let password = "a password of a container";
    let sandbox = sandbox(&servers.settings(), port).secret("SHOP_ADMIN_PASSWORD", password);
    let (code, error) = health_check(&sandbox);
    assert_eq!(code, Some(1), "no program listens yet");
    assert!(error.contains(&port.to_string()), "{error}");

    let _identity = confined(&sandbox, &["run", "identity"]);
    health_is(&sandbox, 0, "").await;
    let shop = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    shop.admin(password).await.unwrap();
    assert_eq!(shop.ask(&Call::get("/readyz")).await.unwrap().status, 200);

    tokio::task::block_in_place(|| servers.store().stop());
    health_is(&sandbox, 1, "PostgreSQL").await;
    tokio::task::block_in_place(|| servers.store().start_again());
    health_is(&sandbox, 0, "").await;
}

#[test]
fn in_a_container_a_missing_setting_is_reported_in_one_line() {
    let refused = |sandbox: &Sandbox, role: &str, words: &[&str]| {
        let output: Output = sandbox.command(&["run", role]).output().unwrap();
        assert_refused(&output, words);
    };
    let urls = [
        ("WINGBEAT_BROKER", "amqp://u:s3cret@127.0.0.1:1"),
        ("WINGBEAT_STORE", "postgres://u:s3cret@127.0.0.1:1/db"),
        ("WINGBEAT_CACHE", "redis://u:s3cret@127.0.0.1:1"),
    ];
    let urls = urls.map(|(name, url)| (name.to_owned(), url.to_owned()));
    let missing = "/run/secrets/no_such_file";
    let without = sandbox(&urls, 0).with("SHOP_ADMIN_PASSWORD_FILE", missing);
    refused(&without, "identity", &["SHOP_ADMIN_PASSWORD_FILE", missing]);

    let hidden = sandbox(&urls, 0);
    hidden.hide("wingbeat_store");
    let file = "/run/secrets/wingbeat_store";
    let denied = "Permission denied";
    refused(&hidden, "orders", &["WINGBEAT_STORE_FILE", file, denied]);

    let complete = sandbox(&urls, 0);
    refused(&complete, "identity", &["SHOP_ADMIN_PASSWORD"]);
    refused(&complete, "payments", &["--provider"]);
    refused(&complete, "notifications", &["--smtp"]);

    let elsewhere = Sandbox::default()
        .with("WINGBEAT_DATA", "/elsewhere")
        .with("WINGBEAT_LISTEN", "127.0.0.1:0");
    refused(
        &elsewhere,
        "provider",
        &["/elsewhere", "Read-only file system"],
    );
}

#[tokio::test]
async fn the_provider_writes_its_ledger_to_its_volume() {
    let port = free_port();
    let sandbox = Sandbox::default()
        .with_data()
        .with("WINGBEAT_DATA", "/data")
        .with("WINGBEAT_LISTEN", &format!("127.0.0.1:{port}"));
    let _provider = confined(&sandbox, &["run", "provider"]);
    let provider = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    until("the provider serves", async || {
        provider.ask(&Call::get("/healthz")).await
    })
    .await;
}

/// Prometheus scrapes every service where it listens, and the files that add Prometheus and Grafana
/// fit the first one.
#[test]
fn prometheus_scrapes_every_service() {
    let mut client = compose();
    for file in [
        "compose.yaml",
        "prometheus/compose.yaml",
        "grafana/compose.yaml",
    ] {
        client.arg("-f").arg(deploy(file));
    }
    let output = client.args(["config", "-q"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let scraped: Value = serde_saphyr::from_str(&read("prometheus/prometheus.yaml")).unwrap();
    let found = &scraped["scrape_configs"][0]["dns_sd_configs"][0];
    let mut services: BTreeSet<String> = roles().into_iter().collect();
    services.remove("provider"); // Another company exposes no metrics to us.
    assert_eq!(texts(&found["names"]), services);
    let exposed = format!("EXPOSE 8080 {}\n", found["port"]);
    assert!(read("Dockerfile").contains(&exposed), "{exposed}");
}
