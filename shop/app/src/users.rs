//! The users of the shop's processes on RabbitMQ, PostgreSQL and Redis, with no more privileges
//! than each needs: `shop users` writes them to `deploy/`.
//!
//! The files contain no passwords. `deploy/secrets.sh` makes those and puts them in place of the
//! marks `@<name>@`; PostgreSQL reads them from files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use shop_notifications::Delivery;
use shop_system::roles::{GATEWAY, SERVICES, whole};
use shop_system::{Settings, services};
use wingbeat::http::session::Sessions;
use wingbeat::run::{
    BrokerConfig, BrokerUser, CacheUser, broker_definitions, broker_users, cache_users, store_roles,
};
use wingbeat::test::Model;
use wingbeat::{App, TokioRuntime};

/// Writes the users and permissions of all processes for RabbitMQ, PostgreSQL and Redis
#[derive(Args, Clone, Debug)]
pub struct UsersArgs {
    /// The directory to write to
    #[arg(long, value_name = "DIR", default_value = "deploy")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &UsersArgs) -> ExitCode {
    for (file, text) in files() {
        if let Err(why) = write(&args.out.join(file), &text) {
            eprintln!("shop: {}: {why}", args.out.join(file).display());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// Returns the files: their paths and contents.
#[must_use]
pub fn files() -> [(&'static str, String); 3] {
    [
        ("rabbitmq/definitions.json", broker(&app())),
        ("postgres/roles.sql", store()),
        ("redis/users.acl", cache()),
    ]
}

/// The app of the whole shop. Nothing of it runs.
fn app() -> App {
    let runtime = TokioRuntime::new();
    let sessions = Sessions::new(Model::new(runtime.clone()).cache, runtime);
    let settings = Settings::default();
    services::system(
        &settings,
        &whole(),
        &sessions,
        "http://provider",
        &Delivery::Mailbox,
    )
}

/// Returns the names of the users: the services, and the gateway.
fn names() -> impl Iterator<Item = &'static str> {
    SERVICES.into_iter().chain([GATEWAY])
}

/// The mark in place of the password of a user.
fn mark(name: &str) -> String {
    format!("@{name}@")
}

/// The exchanges, queues, bindings and users of RabbitMQ. The gateway only counts what waits.
fn broker(app: &App) -> String {
    let mut users = broker_users(app, mark);
    users.push(BrokerUser {
        name: GATEWAY.to_owned(),
        password_hash: mark(GATEWAY),
        is_service: false,
        sends_commands: false,
        asks: false,
        answers: false,
    });
    let definitions = broker_definitions(&BrokerConfig::new(""), &app.topology(), &users);
    let text = serde_json::to_string_pretty(&definitions);
    text.expect("definitions always encode") + "\n"
}

/// The roles of PostgreSQL. `shop migrate` grants them their privileges on the schemas.
fn store() -> String {
    let about = "\
-- Written by `shop users`: the roles of the shop, for psql as a superuser, once.
-- The role `migrate` owns the schemas. A service may read and write the tables of its own
-- schema and nothing else; the gateway may read all of them, for the audit. `shop migrate`
-- grants those privileges. Passwords are files in the directory `secrets`.
";
    about.to_owned() + &store_roles("migrate", names())
}

/// The families of keys that a service has for itself in the cache, apart from sessions.
fn families(name: &str) -> &'static [&'static str] {
    match name {
        "catalog" => &["catalog"],
        "identity" => &["login-failures"],
        "inventory" => &["flash-sale", "flash-terms", "flash-answer", "flash-claims"],
        _ => &[],
    }
}

/// The users of Redis. Identity alone ends all sessions of a user, and flash sales are allotments.
fn cache() -> String {
    let users = names().map(|name| CacheUser {
        name,
        password_hash: mark(name),
        families: families(name),
        allotments: name == "inventory",
        ends_sessions: name == "identity",
    });
    cache_users(&users.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo run -- users` writes them again.
    #[test]
    fn the_users_in_deploy_are_current() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        for (file, text) in files() {
            let found = fs::read_to_string(deploy.join(file)).unwrap_or_default();
            assert!(
                found == text,
                "{file} is outdated: run `cargo run -- users`"
            );
        }
    }

    #[test]
    fn only_services_that_send_commands_may_write_to_their_exchange() {
        let definitions: serde_json::Value =
            serde_json::from_str(&broker(&app())).expect("it is JSON");
        let permissions = definitions["permissions"].as_array().expect("a list");
        let may = |name: &str| {
            let found = permissions.iter().find(|it| it["user"] == name);
            found.expect("it has permissions")["write"].to_string()
        };
        for (name, sends) in [("orders", true), ("identity", true), ("carts", false)] {
            assert_eq!(may(name).contains("commands"), sends, "{name}");
        }
        assert_eq!(may("gateway"), "\"^$\"");
    }
}
