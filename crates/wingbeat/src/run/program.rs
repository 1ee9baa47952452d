//! A program: its services, roles and commands, and the process that runs them.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::backends::Backends;
use super::error::RunError;
use super::host::Host;
use super::readiness::Readiness;
use super::settings::{OwnSettings, Settings};
use crate::describe::{Info, System};
use crate::trust::Trust;
use crate::{App, Ports, Result, TokioRuntime};

/// The services and other roles that a process plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The services that run here.
    pub services: BTreeSet<&'static str>,
    /// The roles of the program that are not services; see [`Program::roles`].
    pub others: BTreeSet<&'static str>,
    /// All services and roles run in this process.
    pub whole: bool,
}

impl Roles {
    /// Returns whether the process plays this role or runs this service.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.services.contains(name) || self.others.contains(name)
    }

    /// Returns the name that the broker shows for the process.
    #[must_use]
    pub fn name(&self, program: &str) -> String {
        if self.whole {
            return program.into();
        }
        let names = self.services.iter().chain(&self.others);
        names.copied().collect::<Vec<_>>().join("+")
    }
}

/// A command of a program, beside those that every program has.
pub struct Command {
    /// Its definition: name, help, arguments.
    pub definition: clap_builder::Command,
    /// Runs it with its arguments.
    pub run: fn(clap_builder::ArgMatches) -> BoxFuture<'static, ExitCode>,
}

/// A program with more than services. For services alone use [`run`](crate::run()).
///
/// A process starts in this order: settings, logs, ports, [`begin`](Self::begin), the services of
/// [`system`](Self::system), [`routes`](Self::routes), [`prepare`](Self::prepare), ready.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use wingbeat::run::{Process, Roles, RunError};
/// use wingbeat::{App, Ports, Program, Service, Settings, run_program};
///
/// struct Hotel;
///
/// impl Program for Hotel {
///     type Own = ();
///     type State = ();
///
///     fn name(&self) -> &'static str {
///         "hotel"
///     }
///
///     fn about(&self) -> &'static str {
///         "A hotel with one service."
///     }
///
///     fn services(&self, _: &Settings) -> Vec<&'static str> {
///         vec!["rooms"]
///     }
///
///     async fn begin(&self, _: &Settings, _: &Roles, _: &Ports) -> Result<(), RunError> {
///         Ok(())
///     }
///
///     fn system(&self, _: &Settings, _: &Roles, _: &()) -> App {
///         App::new().service(Service::new("rooms"))
///     }
///
///     async fn prepare(&self, process: &Process<Self>) -> Result<Vec<String>, RunError> {
///         Ok(vec![format!("Guests book at http://{}/", process.address)])
///     }
/// }
///
/// fn main() -> ExitCode {
///     run_program(Hotel)
/// }
/// ```
pub trait Program: Send + Sync + Sized + 'static {
    /// The program's own settings.
    type Own: OwnSettings;
    /// The state that [`begin`](Self::begin) creates: clients, stand-ins, caches that services
    /// share.
    type State: Send + Sync + 'static;

    /// Returns the program's name, for messages.
    fn name(&self) -> &'static str;

    /// Returns one line about the program, for `--help`.
    fn about(&self) -> &'static str;

    /// Returns the names of all services of the system.
    fn services(&self, settings: &Settings<Self::Own>) -> Vec<&'static str>;

    /// Returns the roles that are not services, such as a gateway. `run <role>` plays them.
    fn roles(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the roles that are not services and that sign requests to services. They need keys
    /// if services have keys; see [`trust`](crate::trust).
    fn signing_roles(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the commands of the program.
    fn commands(&self) -> Vec<Command> {
        Vec::new()
    }

    /// Checks settings and roles before anything starts.
    ///
    /// # Errors
    ///
    /// A requirement that is not met: [`RunError::Program`].
    fn check(&self, _settings: &Settings<Self::Own>, _roles: &Roles) -> Result<(), RunError> {
        Ok(())
    }

    /// Runs roles that need neither services, public port nor operator's port. Returns `None` for
    /// other roles. The role ends when its [`Alone`] is dropped.
    fn alone(
        &self,
        _settings: &Settings<Self::Own>,
        _roles: &Roles,
    ) -> Option<BoxFuture<'static, Result<Alone, RunError>>> {
        None
    }

    /// Returns the SQLite files that this process keeps in the data directory beside the embedded
    /// store. If one of them has disappeared, was emptied, or belongs to other data, the process
    /// does not start.
    fn files(&self, settings: &Settings<Self::Own>, roles: &Roles) -> Vec<&'static str> {
        let _ = (settings, roles);
        Vec::new()
    }

    /// Makes the state that services and routes share.
    fn begin(
        &self,
        settings: &Settings<Self::Own>,
        roles: &Roles,
        ports: &Ports,
    ) -> impl Future<Output = Result<Self::State, RunError>> + Send;

    /// Makes the app of the whole system. Called again whenever a service restarts.
    fn system(&self, settings: &Settings<Self::Own>, roles: &Roles, state: &Self::State) -> App;

    /// Makes the public routes of a process.
    fn routes(
        &self,
        process: &Process<Self>,
    ) -> impl Future<Output = Result<Router, RunError>> + Send {
        let routes = process.default_routes();
        async { Ok(routes) }
    }

    /// Prepares the running services, before the process is ready: seeding, accounts. Returns lines
    /// to print.
    fn prepare(
        &self,
        _process: &Process<Self>,
    ) -> impl Future<Output = Result<Vec<String>, RunError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Returns the system that the command `contracts` describes, and the head of its documents;
    /// `None` without that command. See [`contracts`](crate::contracts).
    fn contracts(&self) -> Option<(System, Info)> {
        None
    }

    /// Returns the lines that the program prints when it is ready.
    fn greeting(&self, process: &Process<Self>) -> Vec<String> {
        let (name, address) = (process.roles.name(self.name()), process.address);
        let mut lines = vec![format!("{name} is ready: http://{address}/")];
        if let Some(ops) = process.ops_address {
            lines.push(format!(
                "Metrics and operations: http://{ops}/metrics, http://{ops}/ops/subscriptions"
            ));
        }
        lines
    }
}

/// A running process of a program.
pub struct Process<P: Program> {
    /// The program.
    pub program: Arc<P>,
    /// Its settings.
    pub settings: Arc<Settings<P::Own>>,
    /// The services and roles that it runs.
    pub roles: Arc<Roles>,
    /// The state that [`Program::begin`] made.
    pub state: Arc<P::State>,
    /// Time, chance and tasks.
    pub runtime: Arc<TokioRuntime>,
    /// The adapters.
    pub backends: Arc<Backends>,
    /// The keys for signatures; `None` if the settings name none.
    pub trust: Option<Trust>,
    /// The services.
    pub host: Arc<Host>,
    /// The readiness that `/readyz` reports.
    pub readiness: Readiness,
    /// The public address.
    pub address: SocketAddr,
    /// The operator's address, if this process records metrics.
    pub ops_address: Option<SocketAddr>,
    pub(super) printed: Vec<String>,
    pub(super) end: watch::Sender<bool>,
    pub(super) serving: Vec<JoinHandle<()>>,
    /// Sends the metrics, if the settings name a collector.
    #[cfg(feature = "otlp")]
    pub(super) exporting: Option<super::ops::Exporting>,
}

/// A running role without services.
pub struct Alone {
    /// The line to print when it is ready.
    pub ready: String,
    /// Dropped when the process ends, which ends the role.
    pub keep: Box<dyn Send>,
}

/// A program that consists of services alone.
pub(super) struct Plain<S, F> {
    system: F,
    own: PhantomData<fn() -> S>,
}

impl<S, F> Plain<S, F> {
    pub(super) fn new(system: F) -> Self {
        let own = PhantomData;
        Self { system, own }
    }
}

impl<S, F> Program for Plain<S, F>
where
    S: OwnSettings,
    F: Fn(&Settings<S>) -> App + Send + Sync + 'static,
{
    type Own = S;
    type State = ();

    fn name(&self) -> &'static str {
        static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        NAME.get_or_init(program_name)
    }

    fn about(&self) -> &'static str {
        "A system of services that talk through events, built with Wingbeat"
    }

    fn services(&self, settings: &Settings<S>) -> Vec<&'static str> {
        let app = (self.system)(settings);
        app.names().map(|name| name.as_str()).collect()
    }

    async fn begin(&self, _: &Settings<S>, _: &Roles, _: &Ports) -> Result<(), RunError> {
        Ok(())
    }

    fn system(&self, settings: &Settings<S>, _: &Roles, (): &()) -> App {
        (self.system)(settings)
    }

    fn contracts(&self) -> Option<(System, Info)> {
        let app = (self.system)(&Settings::default());
        let info = Info::new(self.name(), "1").description(self.about());
        Some((System::from(&app), info))
    }
}

/// The name of the executable.
#[allow(
    clippy::disallowed_methods,
    reason = "a program's name is known to its process alone"
)]
fn program_name() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let stem = path.as_deref().and_then(std::path::Path::file_stem);
    stem.map_or_else(
        || "program".into(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
