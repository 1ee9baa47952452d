//! `<program> topology`: the queues of the broker, for operators.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap_builder::{Arg, ArgAction, ArgMatches, Command};
use wingbeat_core::Topology;
use wingbeat_core::transport::{Prune, Pruned};

use super::arguments::sources;
use super::backends::Backends;
use super::error::RunError;
use super::logs;
use super::output::say;
use super::program::{Program, Roles};
use super::settings::{Field, Settings, Sources};
use crate::{Ports, Result, TokioRuntime};

/// The exit code of `plan` if something differs.
const DIFFERS: u8 = 1;

/// Defines the command. `flags` adds the settings of a program.
pub(super) fn command(flags: impl Fn(Command) -> Command) -> Command {
    let plan = Command::new("plan").about(
        "Show how the broker differs from the subscriptions: exit code 0 if it does not, else 1",
    );
    let apply = Command::new("apply").about("Declare all exchanges, queues and bindings");
    let migrate = Command::new("migrate").about(
        "Declare changed queues again and keep their messages; can be interrupted and run again",
    );
    let prune = Command::new("prune")
        .about("Delete queues that no subscription has any more, if they are empty")
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("Also delete queues with messages, and the messages"),
        )
        .arg(
            Arg::new("service")
                .long("service")
                .action(ArgAction::Append)
                .value_name("NAME")
                .help("Also delete the queues of this service, which was removed from the system"),
        );
    Command::new("topology")
        .about("Show, declare and change the queues of the broker")
        .subcommand_required(true)
        .subcommands([plan, apply, migrate, prune].map(flags))
}

/// Runs one of the commands.
pub(super) async fn run<P: Program>(program: &P, args: &ArgMatches) -> Result<ExitCode, RunError> {
    let (name, args) = args.subcommand().expect("clap requires a command");
    let sources = sources(&Field::of::<P::Own>(), args);
    let settings = read(&sources)?;
    let logs = logs::start(&settings, program.name())?;
    let done = on_broker(program, &settings, name, args).await;
    logs.close().await;
    done
}

fn read<S: super::OwnSettings>(sources: &Sources) -> Result<Settings<S>, RunError> {
    let (settings, faults) = Settings::<S>::read_all(sources);
    RunError::all(faults.into_iter().map(RunError::from).collect())?;
    Ok(settings)
}

async fn on_broker<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    name: &str,
    args: &ArgMatches,
) -> Result<ExitCode, RunError> {
    let runtime = TokioRuntime::new();
    let (servers, tls) = (settings.servers.as_ref(), &settings.tls);
    let shown = format!("{} topology", program.name());
    let backends = Backends::open(servers, &settings.data, &shown, tls, &runtime).await?;
    // Nothing runs here.
    let roles = Roles {
        services: BTreeSet::new(),
        others: BTreeSet::new(),
        whole: false,
    };
    let state = program.begin(settings, &roles, &backends.ports).await?;
    let app = program.system(settings, &roles, &state);
    app.check()?;
    let (ports, topology) = (&backends.ports, app.topology());
    match name {
        "plan" => plan(ports, &topology).await,
        "apply" => {
            ports.transport.declare(&topology).await?;
            plan(ports, &topology).await
        }
        "migrate" => migrate(ports, &topology).await,
        _ => {
            let services = args.get_many::<String>("service");
            let options = Prune {
                forced: args.get_flag("force"),
                services: services.into_iter().flatten().cloned().collect(),
            };
            prune(ports, &topology, &options).await
        }
    }
}

async fn plan(ports: &Ports, topology: &Topology) -> Result<ExitCode, RunError> {
    let found = ports.transport.deviations(topology).await?;
    for deviation in &found {
        say(deviation);
    }
    if found.is_empty() {
        let queues = topology.queues.len();
        say(format_args!(
            "{queues} queues are as the subscriptions declare them"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(DIFFERS))
}

async fn migrate(ports: &Ports, topology: &Topology) -> Result<ExitCode, RunError> {
    let migrated = ports.transport.migrate(topology).await?;
    for it in &migrated {
        say(format_args!(
            "migrated   {}: {} messages",
            it.queue, it.messages
        ));
    }
    if migrated.is_empty() {
        say("no queue has changed");
    }
    Ok(ExitCode::SUCCESS)
}

async fn prune(ports: &Ports, topology: &Topology, options: &Prune) -> Result<ExitCode, RunError> {
    let pruned = ports.transport.prune(topology, options).await?;
    for Pruned { queue, result } in &pruned {
        match result {
            Ok(messages) => {
                let by = "command line";
                tracing::info!(target: "audit", by, queue, messages, "orphaned queue deleted");
                say(format_args!("deleted    {queue}: {messages} messages"));
            }
            Err(why) => say(format_args!("kept       {queue}: {why}")),
        }
    }
    if pruned.is_empty() {
        say("every queue has a subscription");
    }
    let is_kept = pruned.iter().any(|it| it.result.is_err());
    Ok(if is_kept {
        ExitCode::from(DIFFERS)
    } else {
        ExitCode::SUCCESS
    })
}
