//! The command line of a program.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_builder::{Arg, ArgAction, ArgMatches, Command};

use super::arguments::sources;
use super::backends::Backends;
use super::error::RunError;
use super::output::{complain, say};
use super::process::open;
use super::program::{Program, Roles};
use super::settings::{Field, OURS, Settings, SettingsError, Sources};
use super::signals::{self, Signals};
use super::{logs, migrate, ready, threads, topology, trust, verify};
use crate::call::HyperClient;
use crate::{Runtime as _, Timestamp};

/// The exit code of a program that cannot start.
const CANNOT_START: u8 = 2;

/// Parses the command line and runs the program.
pub(super) fn main<P: Program>(program: P) -> ExitCode {
    let own = Field::of::<P::Own>();
    let mut matches = command(&program, &own).get_matches();
    let chosen = matches.remove_subcommand();
    let (threads, wrong) = match threads(chosen.as_ref()) {
        Ok(threads) => (threads, None),
        Err(why) => (1, Some(why)),
    };
    if let Err(why) = descriptors().and_then(|()| signals::unblock()) {
        return cannot(program.name(), &RunError::System(why));
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return cannot(program.name(), &RunError::System(why)),
    };
    runtime.block_on(async {
        match chosen {
            None => serve(program, sources(&own, &matches), wrong, None).await,
            Some((name, args)) if name == "run" => {
                let names = args.get_many("services").unwrap_or_default().cloned();
                serve(program, sources(&own, &args), wrong, Some(names.collect())).await
            }
            Some((name, args)) if name == "migrate" => {
                match migrate::run(&program, &sources(&own, &args)).await {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(why) => cannot(program.name(), &why),
                }
            }
            Some((name, args)) if name == "topology" => {
                let done = topology::run(&program, &args).await;
                done.unwrap_or_else(|why| cannot(program.name(), &why))
            }
            Some((name, args)) if name == "verify" => {
                let done = verify::run(&program, &args).await;
                done.unwrap_or_else(|why| cannot(program.name(), &why))
            }
            #[cfg(feature = "test")]
            Some((name, args)) if name == "replay" => {
                let done = super::replay::run(&program, &args).await;
                done.unwrap_or_else(|why| cannot(program.name(), &why))
            }
            Some((name, args)) if name == "ready" => {
                match Settings::<P::Own>::read(&sources(&own, &args)) {
                    Ok(settings) => ready::run(program.name(), settings.listen).await,
                    Err(why) => cannot(program.name(), &why.into()),
                }
            }
            Some((name, args)) if name == "contracts" => super::contracts::run(&program, &args),
            #[cfg(feature = "signing")]
            Some((name, args)) if name == "keys" => super::keys::run(&program, &args),
            Some((name, args)) => {
                let mut all = program.commands().into_iter();
                let found = all.find(|it| it.definition.get_name() == name);
                let found = found.expect("clap knows no other commands");
                (found.run)(args).await
            }
        }
    })
}

fn command<P: Program>(program: &P, own: &[Field]) -> Command {
    let flags = |command: Command| {
        let migrates = command.get_name() == "migrate";
        let fields = OURS.iter().chain(own).filter(|field| !field.secret);
        let fields = fields.filter(|field| migrates || !field.is_of_migrate());
        command.args(fields.map(flag)).arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap_builder::value_parser!(PathBuf))
                .help("Settings; `./wingbeat.toml` if it exists [env: WINGBEAT_CONFIG]"),
        )
    };
    let names = Arg::new("services")
        .value_name("SERVICE")
        .num_args(1..)
        .required(true)
        .help("Their names");
    let run = Command::new("run").arg(names);
    let run = match program.roles() {
        [] => run.about("Run only these services, on RabbitMQ, PostgreSQL and Redis"),
        roles => run.about(format!(
            "Run only these services, on RabbitMQ, PostgreSQL and Redis; {} are names too",
            roles.join(" and ")
        )),
    };
    let ready = Command::new("ready").about(
        "Check whether the process with these settings is ready: exit code 0 if it is, else 1",
    );
    let migrate = Command::new("migrate").about(
        "Create or migrate the schemas in PostgreSQL with the role of --store, so that services \
         can run with roles that may create nothing",
    );
    let commands = program.commands().into_iter().map(|it| it.definition);
    #[cfg(feature = "signing")]
    let commands = commands.chain([super::keys::command()]);
    let whole = flags(Command::new(program.name()));
    #[cfg(feature = "test")]
    let whole = whole.subcommand(super::replay::command(flags));
    whole
        .about(program.about())
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand(flags(run))
        .subcommand(flags(migrate))
        .subcommand(topology::command(flags))
        .subcommand(verify::command(flags))
        .subcommand(flags(ready))
        .subcommand(super::contracts::command())
        .subcommands(commands)
}

fn flag(field: &Field) -> Arg {
    let default = field.default.as_ref();
    let default = default.map_or_else(String::new, |value| format!(" [default: {value}]"));
    let help = format!("{}{default} [env: {}]", field.help, field.env);
    let arg = Arg::new(field.key.clone())
        .long(field.flag())
        .value_name(field.value.clone())
        .action(ArgAction::Set)
        .help(help);
    if field.is_switch() {
        arg.value_name("on|off")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("on")
    } else {
        arg
    }
}

/// Returns the flags whose values are URLs with passwords. Every user of a machine can read the
/// command lines of all processes.
fn exposed(sources: &Sources) -> Vec<String> {
    let with_password = sources.flags.iter().filter(|(_, url)| {
        let Some((_, rest)) = url.split_once("://") else {
            return false;
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let password = user.and_then(|user| user.split_once(':'));
        password.is_some_and(|(_, password)| !password.is_empty()) || rest.contains("password=")
    });
    with_password
        .map(|(key, _)| format!("--{}", key.replace('_', "-")))
        .collect()
}

/// Returns the number of worker threads.
#[allow(
    clippy::disallowed_methods,
    reason = "the machine's cores and environment"
)]
fn threads(chosen: Option<&(String, ArgMatches)>) -> Result<usize, SettingsError> {
    let services = chosen.filter(|(name, _)| name == "run").map(|(_, args)| {
        let names = args.get_many::<String>("services");
        names.map_or(1, Iterator::count)
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let set = std::env::var_os(threads::VARIABLE);
    threads::number(set.as_deref(), services, cores)
}

/// Checks that the process may open the few descriptors without which tokio panics.
#[cfg(unix)]
fn descriptors() -> std::io::Result<()> {
    let pair = |_| std::os::unix::net::UnixStream::pair();
    let opened: std::io::Result<Vec<_>> = (0..4).map(pair).collect();
    opened.map(drop)
}

#[cfg(not(unix))]
fn descriptors() -> std::io::Result<()> {
    Ok(())
}

fn cannot(program: &str, why: &RunError) -> ExitCode {
    let advice = why.advice(program);
    complain(format_args!("{program}: {why}{advice}"));
    ExitCode::from(CANNOT_START)
}

/// Runs the services until a signal.
async fn serve<P: Program>(
    program: P,
    sources: Sources,
    wrong: Option<SettingsError>,
    names: Option<Vec<String>>,
) -> ExitCode {
    let name = program.name();
    let (settings, roles) = match checked(&program, &sources, wrong, names) {
        Ok(checked) => checked,
        Err(why) => return cannot(name, &why),
    };
    let logs = match logs::start(&settings, &roles.name(name)) {
        Ok(logs) => logs,
        Err(why) => return cannot(name, &why),
    };
    let ended = until_signal(program, settings, roles, &exposed(&sources)).await;
    logs.close().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => cannot(name, &why),
    }
}

/// The start of the year in which the first release was made.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Returns the error of a clock that was never set. Ids sort by their time and data expire by it:
/// what such a process writes would come before everything else, and never expire.
fn clock_fault(now: Timestamp) -> Option<RunError> {
    (now < EARLIEST).then(|| {
        let text = format!("the clock of this machine says {now}: set it");
        crate::Error::reject("clock_wrong", text).into()
    })
}

/// Reads the settings and roles, and checks all that can be checked without a connection.
///
/// # Errors
///
/// Everything that is wrong, at once.
fn checked<P: Program>(
    program: &P,
    sources: &Sources,
    wrong: Option<SettingsError>,
    names: Option<Vec<String>>,
) -> Result<(Settings<P::Own>, Roles), RunError> {
    let (settings, faults) = Settings::<P::Own>::read_all(sources);
    let faults = wrong.into_iter().chain(faults);
    let mut all: Vec<RunError> = faults.map(RunError::from).collect();
    all.extend(logs::faults(&settings));
    if let Some(servers) = &settings.servers {
        all.extend(Backends::faults(servers).into_iter().map(RunError::from));
    }
    all.extend(clock_fault(crate::TokioRuntime::new().now()));
    if settings.urls.iter().any(|it| it.is_https()) {
        let checked = HyperClient::with_tls(settings.tls.clone()).prepare_tls();
        all.extend(checked.err().map(RunError::from));
    }
    let (roles, unknown) = roles(program, &settings, names);
    let keys = trust::keys(program, &settings, &roles);
    all.extend(keys.err().map(RunError::from));
    all.extend(unknown);
    all.extend(unknown_upstreams(program, &settings));
    all.extend(program.check(&settings, &roles).err());
    let alone = program.alone(&settings, &roles).is_some();
    let servers_wrong = all.iter().any(RunError::is_of_servers);
    if !roles.whole && !alone && settings.servers.is_none() && !servers_wrong {
        all.push(RunError::NoServers);
    }
    RunError::all(all)?;
    Ok((settings, roles))
}

async fn until_signal<P: Program>(
    program: P,
    settings: Settings<P::Own>,
    roles: Roles,
    exposed: &[String],
) -> Result<(), RunError> {
    let signals = Signals::listen()?;
    if let Some(alone) = program.alone(&settings, &roles) {
        let alone = alone.await?;
        say(&alone.ready);
        signals.first().await;
        return Ok(());
    }
    let name = program.name();
    let process = open(program, settings, roles).await?;
    for line in process.greeting() {
        say(line);
    }
    for flag in exposed {
        tracing::warn!(
            "other users of this machine can read the password in {flag}: set its variable, or the \
             variable with `_FILE`, instead"
        );
    }
    signals.first().await;
    complain(format_args!("{name}: closing"));
    process.close().await;
    Ok(())
}

/// Returns the errors of addresses of services and roles that do not exist.
fn unknown_upstreams<P: Program>(program: &P, settings: &Settings<P::Own>) -> Vec<RunError> {
    let mut names = program.services(settings);
    names.extend(program.roles());
    let all = settings.upstreams.keys();
    let unknown = all.filter(|name| !names.contains(&name.as_str()));
    unknown
        .map(|name| RunError::UnknownUpstream {
            variable: format!("WINGBEAT_URL_{}", name.to_ascii_uppercase()),
            known: names.join(", "),
        })
        .collect()
}

/// Returns the roles that the command line names, or all roles if it names none; and the error of
/// names that do not exist.
fn roles<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    names: Option<Vec<String>>,
) -> (Roles, Option<RunError>) {
    let services: Vec<&'static str> = program.services(settings);
    let others = program.roles();
    let Some(names) = names else {
        let roles = Roles {
            services: services.into_iter().collect(),
            others: others.iter().copied().collect(),
            whole: true,
        };
        return (roles, None);
    };
    let mut roles = Roles {
        services: BTreeSet::new(),
        others: BTreeSet::new(),
        whole: false,
    };
    let mut unknown = Vec::new();
    for name in names {
        if let Some(service) = services.iter().find(|it| **it == name) {
            roles.services.insert(service);
        } else if let Some(role) = others.iter().find(|it| **it == name) {
            roles.others.insert(role);
        } else {
            unknown.push(name);
        }
    }
    let unknown = (!unknown.is_empty()).then(|| {
        let known = services.iter().chain(others).copied();
        RunError::UnknownService {
            name: unknown.join(", "),
            known: known.collect::<Vec<_>>().join(", "),
        }
    });
    (roles, unknown)
}

#[cfg(test)]
mod tests {
    use super::super::program::Plain;
    use super::*;

    #[derive(Clone, Default, serde::Deserialize, schemars::JsonSchema)]
    #[serde(default)]
    struct Hotel {
        /// The name on the door
        #[serde(rename = "name")]
        _name: String,
    }

    #[test]
    fn the_help_shows_the_settings_of_a_program_beside_ours() {
        let program = Plain::new(|_: &Settings<Hotel>| crate::App::new());
        let help = command(&program, &Field::of::<Hotel>()).render_help();
        let help = help.to_string();
        for shown in [
            "--name",
            "The name on the door",
            "--listen",
            "--ops-listen",
            "--config",
        ] {
            assert!(help.contains(shown), "{shown} is missing in\n{help}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_refused() {
        let fault = clock_fault(Timestamp::from_millis(7_000)).expect("it is refused");
        let text = fault.to_string();
        assert!(text.contains("1970-01-01T00:00:07"), "{text}");
        assert!(text.contains("clock_wrong"), "{text}");
        assert!(clock_fault(EARLIEST).is_none());
    }

    #[test]
    fn passwords_on_the_command_line_are_noticed() {
        let exposed = |value: &str| {
            let flags = [("store".to_owned(), value.to_owned())].into();
            let sources = Sources {
                flags,
                ..Sources::default()
            };
            exposed(&sources)
        };
        for with in [
            "postgres://orders:s3cret@db/shop",
            "postgres://orders@db/shop?password=s3cret",
            "redis://:s3cret@cache",
            "amqp://u:p@ss@broker",
        ] {
            assert_eq!(exposed(with), ["--store"], "{with}");
        }
        for without in [
            "postgres://orders@db/shop",
            "redis://cache:6379/0",
            "http://a/x:y@z",
            "data",
        ] {
            assert!(exposed(without).is_empty(), "{without}");
        }
    }
}
