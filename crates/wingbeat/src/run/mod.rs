//! Runs a program: settings, logs, the operator's port, embedded or servers, signals, exit codes.
//!
//! [`run`](crate::run()) is all that most programs need. [`Program`] adds roles that are not
//! services, routes around those of the services, preparation, and commands. Each part also works
//! alone: [`Host`] runs the services of a process, [`ops`] is the operator's API, [`Backends`]
//! opens the adapters.

mod arguments;
mod backends;
mod bodies;
mod cli;
#[cfg(feature = "console")]
pub mod console;
mod contracts;
mod documents;
mod error;
mod host;
#[cfg(feature = "signing")]
mod keys;
mod logs;
mod machine;
mod migrate;
pub mod ops;
mod output;
mod process;
mod program;
mod readiness;
mod ready;
#[cfg(feature = "test")]
mod replay;
mod settings;
mod signals;
mod system;
mod threads;
mod topology;
mod trust;
#[cfg(feature = "servers")]
mod users;
mod verify;

use std::process::ExitCode;

pub use backends::Backends;
pub use clap_builder;
pub use documents::documents;
pub use error::RunError;
pub use host::{Host, System};
#[cfg(feature = "signing")]
pub use keys::make_keys;
pub use process::{open, open_on};
pub use program::{Alone, Command, Process, Program, Roles};
pub use readiness::{Readiness, health, health_routes};
pub use settings::{
    BodyPlace, LogFormat, Otlp, OwnSettings, Secret, Servers, Settings, SettingsError, TrustFiles,
};
pub use system::RunningSystem;
#[cfg(feature = "servers")]
pub use users::{CacheUser, broker_users, cache_users, store_roles};
#[cfg(feature = "embedded")]
pub use wingbeat_embedded::private_directory;
#[cfg(feature = "servers")]
pub use wingbeat_rabbitmq::{
    Config as BrokerConfig, User as BrokerUser, definitions as broker_definitions,
};

use crate::App;

/// Runs a system as a program, until Ctrl-C or SIGTERM.
///
/// `system` makes the app of the *whole* system from the settings. The program then has these
/// commands:
///
/// - `<program>`: all services in one process.
/// - `<program> run <service>…`: only these, on RabbitMQ, PostgreSQL and Redis.
/// - `<program> migrate`: creates and migrates the schemas in PostgreSQL, with a role that may do
///   that.
/// - `<program> contracts`: writes the documents and schemas of the system; see
///   [`contracts`](crate::contracts).
/// - `<program> topology plan`, `apply`, `migrate`, `prune`: shows, declares and changes the queues
///   of the broker.
/// - `<program> replay`: runs recorded stories again on this program's code; in builds with the
///   feature `test`. See [`test::replay`](crate::test::replay).
/// - `<program> verify`: checks what the services store, beside the processes that run; see
///   [`verify`](crate::verify).
/// - `<program> ready`: exit code 0 if the process with these settings is ready.
/// - `--help`: all flags, Wingbeat's and the program's own.
///
/// The process listens on two ports. The public port (`--listen`) serves the routes of the
/// services, `/healthz`, `/readyz`, `/openapi.json` and `/asyncapi.json`; the operator's port
/// (`--ops-listen`) serves `/metrics`, `/healthz`, `/readyz`, the operator's API under `/ops`, and
/// with the feature `console` pages over it under `/console`.
/// Exit codes: 0 after a signal, 2 with one line on stderr if the program cannot start.
///
/// ```no_run
/// use std::process::ExitCode;
/// use wingbeat::{App, JsonSchema, Service, Settings};
/// use serde::Deserialize;
///
/// #[derive(Clone, Default, Deserialize, JsonSchema)]
/// #[serde(default)]
/// struct Hotel {
///     /// The name on the door
///     name: String,
/// }
///
/// fn main() -> ExitCode {
///     wingbeat::run(|settings: &Settings<Hotel>| {
///         println!("Welcome to {}", settings.own.name);
///         App::new().service(Service::new("bookings"))
///     })
/// }
/// ```
pub fn run<S, F>(system: F) -> ExitCode
where
    S: OwnSettings,
    F: Fn(&Settings<S>) -> App + Send + Sync + 'static,
{
    cli::main(program::Plain::new(system))
}

/// Runs a program with more than services; see [`Program`].
pub fn run_program<P: Program>(program: P) -> ExitCode {
    cli::main(program)
}
