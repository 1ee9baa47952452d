//! The users of `deploy/` on servers of a test.

use std::path::Path;
use std::process::{Command, Output};

use wingbeat_servers::{Postgres, RabbitMq, Redis};

use shop_registry::NAMES;

/// The password of all users.
pub const PASSWORD: &str = "a-password";

/// Returns the names of the users: the services, and the gateway.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain(["gateway"])
}

/// Returns the URL of the store at a port, for a role.
#[must_use]
pub fn store_url(role: &str, port: u16) -> String {
    format!("postgres://{role}:{PASSWORD}@127.0.0.1:{port}/postgres")
}

/// Imports `rabbitmq/definitions.json`.
///
/// # Panics
///
/// If RabbitMQ refuses it.
pub fn of_broker(broker: &RabbitMq, definitions: &str) {
    let mut definitions = definitions.to_owned();
    for name in names() {
        definitions = definitions.replace(&format!("@{name}@"), "");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    std::fs::write(&file, definitions).unwrap();
    broker.control(&["import_definitions", file.to_str().unwrap()]);
    let users: Vec<_> = names().map(|name| format!("<<\"{name}\">>")).collect();
    // One call for all of them: each start of `rabbitmqctl` takes a second.
    let passwords = format!(
        "[rabbit_auth_backend_internal:change_password(N, <<\"{PASSWORD}\">>, <<\"t\">>) \
         || N <- [{}]], ok.",
        users.join(", ")
    );
    broker.control(&["eval", &passwords]);
}

/// Creates the users of `redis/users.acl`, beside the default one.
///
/// # Panics
///
/// If Redis refuses one.
pub fn of_cache(cache: &Redis, acl: &str) {
    for user in acl
        .lines()
        .filter(|line| !line.starts_with("user default "))
    {
        let (_, name) = user.split_once("#@").unwrap();
        let (name, _) = name.split_once('@').unwrap();
        let user = user.replace(&format!("#@{name}@"), &format!(">{PASSWORD}"));
        let user = user.strip_prefix("user ").unwrap();
        cache.command(&format!("ACL SETUSER {user}"), "+OK");
    }
}

/// Runs `postgres/roles.sql`.
///
/// # Panics
///
/// If PostgreSQL refuses it.
pub fn of_store(store: &Postgres, roles: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in names().chain(["migrate"]) {
        let file = folder.path().join(format!("store_password_{name}"));
        std::fs::write(file, PASSWORD).unwrap();
    }
    let file = folder.path().join("roles.sql");
    std::fs::write(&file, roles).unwrap();
    let secrets = format!("secrets={}", folder.path().display());
    let arguments = ["-v", &secrets, "-f", file.to_str().unwrap()];
    let made = psql(store, "postgres", &arguments);
    assert!(made.status.success(), "{made:?}");
}

/// Runs `psql` as a role.
///
/// # Panics
///
/// If `psql` is not installed.
#[must_use]
pub fn psql(store: &Postgres, role: &str, arguments: &[&str]) -> Output {
    let url = store.url().replace("//postgres@", &format!("//{role}@"));
    let mut psql = Command::new("psql");
    psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1"])
        .args(arguments);
    let output = psql.arg(url).env("PGPASSWORD", PASSWORD).output();
    output.expect("psql is installed")
}

/// Writes the files with the program, creates the users, and lets the role `migrate` create the
/// schemas.
///
/// # Panics
///
/// If the program fails.
pub fn install(binary: &Path, broker: &RabbitMq, store: &Postgres, cache: &Redis) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let written = Command::new(binary)
        .args(["users", "--out"])
        .arg(out)
        .output();
    let written = written.unwrap();
    assert!(written.status.success(), "{written:?}");
    let read = |file: &str| std::fs::read_to_string(out.join(file)).unwrap();
    of_broker(broker, &read("rabbitmq/definitions.json"));
    of_cache(cache, &read("redis/users.acl"));
    of_store(store, &read("postgres/roles.sql"));
    let migrated = Command::new(binary)
        .args(["migrate", "--grant-to", "{service}", "--grant-read-to"])
        .arg("gateway")
        .env("WINGBEAT_STORE", store_url("migrate", store.port()))
        .output();
    let migrated = migrated.unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
}
