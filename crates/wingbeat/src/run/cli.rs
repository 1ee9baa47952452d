//! The command line of a program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::error::RunError;
use super::logs;
use super::process::open;
use super::program::{Program, Roles};
use super::ready;
use super::settings::{Field, OURS, Settings, Sources};
use super::signals::Signals;

/// The exit code of a program that cannot start.
const CANNOT_START: u8 = 2;

/// Parses the command line and runs the program.
pub(super) fn main<P: Program>(program: P) -> ExitCode {
    let own = Field::of::<P::Own>();
    let mut matches = command(&program, &own).get_matches();
    let chosen = matches.remove_subcommand();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads(chosen.as_ref()) {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return cannot(program.name(), &RunError::System(why)),
    };
    runtime.block_on(async {
        match chosen {
            None => serve(program, sources(&own, &matches), None).await,
            Some((name, args)) if name == "run" => {
                let names = args.get_many("services").unwrap_or_default().cloned();
                serve(program, sources(&own, &args), Some(names.collect())).await
            }
            Some((name, args)) if name == "ready" => {
                match Settings::<P::Own>::read(&sources(&own, &args)) {
                    Ok(settings) => ready::run(program.name(), settings.listen).await,
                    Err(why) => cannot(program.name(), &why.into()),
                }
            }
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
        let fields = OURS.iter().chain(own).filter(|field| !field.secret);
        command.args(fields.map(flag)).arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
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
    let commands = program.commands().into_iter().map(|it| it.definition);
    flags(Command::new(program.name()))
        .about(program.about())
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand(flags(run))
        .subcommand(flags(ready))
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

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn sources(own: &[Field], args: &ArgMatches) -> Sources {
    let env: BTreeMap<_, _> = std::env::vars_os().collect();
    let keys = OURS.iter().chain(own).filter(|field| !field.secret);
    let given = keys.filter_map(|field| {
        let value = args.get_one::<String>(&field.key)?;
        Some((field.key.clone(), value.clone()))
    });
    let config = env.get(std::ffi::OsStr::new("WINGBEAT_CONFIG"));
    let file = args.get_one::<PathBuf>("config").cloned();
    Sources {
        flags: given.collect(),
        file: file.or_else(|| config.map(PathBuf::from)),
        env,
    }
}

/// The number of worker threads in a process with few services: one for each. A task that wakes on
/// another thread costs about a tenth more. `TOKIO_WORKER_THREADS` overrides the number.
#[allow(
    clippy::disallowed_methods,
    reason = "tokio reads the variable, unless it is given a number"
)]
fn threads(chosen: Option<&(String, ArgMatches)>) -> Option<usize> {
    let (_, args) = chosen.filter(|(name, _)| name == "run")?;
    let services = args
        .get_many::<String>("services")
        .map_or(1, Iterator::count);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let set = std::env::var_os("TOKIO_WORKER_THREADS").is_some();
    (!set).then(|| services.clamp(1, cores))
}

fn cannot(program: &str, why: &RunError) -> ExitCode {
    eprintln!("{program}: {why}");
    ExitCode::from(CANNOT_START)
}

/// Runs the services until a signal.
async fn serve<P: Program>(program: P, sources: Sources, names: Option<Vec<String>>) -> ExitCode {
    let name = program.name();
    let settings = match Settings::<P::Own>::read(&sources) {
        Ok(settings) => settings,
        Err(why) => return cannot(name, &why.into()),
    };
    let logs = match logs::start(&settings) {
        Ok(logs) => logs,
        Err(why) => return cannot(name, &why),
    };
    let ended = until_signal(program, settings, names).await;
    logs.close().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => cannot(name, &why),
    }
}

async fn until_signal<P: Program>(
    program: P,
    settings: Settings<P::Own>,
    names: Option<Vec<String>>,
) -> Result<(), RunError> {
    let signals = Signals::listen()?;
    let roles = roles(&program, &settings, names)?;
    program.check(&settings, &roles)?;
    if let Some(alone) = program.alone(&settings, &roles) {
        let alone = alone.await?;
        println!("{}", alone.ready);
        signals.first().await;
        return Ok(());
    }
    if !roles.whole && settings.servers.is_none() {
        return Err(RunError::NoServers);
    }
    let name = program.name();
    let process = open(program, settings, roles).await?;
    for line in process.greeting() {
        println!("{line}");
    }
    signals.first().await;
    eprintln!("{name}: closing");
    process.close().await;
    Ok(())
}

/// Returns the roles that the command line names; all roles if it names none.
fn roles<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    names: Option<Vec<String>>,
) -> Result<Roles, RunError> {
    let services: Vec<&'static str> = program.services(settings);
    let others = program.roles();
    let Some(names) = names else {
        return Ok(Roles {
            services: services.into_iter().collect(),
            others: others.iter().copied().collect(),
            whole: true,
        });
    };
    let mut roles = Roles {
        services: BTreeSet::new(),
        others: BTreeSet::new(),
        whole: false,
    };
    for name in names {
        if let Some(service) = services.iter().find(|it| **it == name) {
            roles.services.insert(service);
        } else if let Some(role) = others.iter().find(|it| **it == name) {
            roles.others.insert(role);
        } else {
            let known = services.iter().chain(others).copied();
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(RunError::UnknownService { name, known });
        }
    }
    Ok(roles)
}
