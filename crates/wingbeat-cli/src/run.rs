//! The program: it parses the command line and runs one command.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::arguments::{Arguments, Command, Doctor};
use crate::client::{Ask, Client};
use crate::doctor;
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{say, say_json};
use crate::{contracts, graph, incidents, letters, lists, project, replay, topology};

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(why) => Err(Failed::local(format!("the program cannot start: {why}"))),
    };
    done.unwrap_or_else(|why| {
        eprintln!("wingbeat: {why}");
        why.exit
    })
    .into()
}

async fn run(arguments: &Arguments) -> Result<Exit, Failed> {
    let (place, json) = (&arguments.place, arguments.json);
    let fleet = || Client::all(place).map(Fleet::new);
    match &arguments.command {
        Command::New(options) => project::run(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "wingbeat", &mut script);
            say(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Fine)
        }
        Command::Doctor(options) => diagnose(&fleet()?, options, json).await,
        Command::Graph { format } => graph::run(&fleet()?, *format, json).await,
        Command::DeadLetters { action } => letters::run(&fleet()?, action, json).await,
        Command::Incidents { action } => incidents::run(&fleet()?, action, json).await,
        Command::Subscriptions { action } => lists::subscriptions(&fleet()?, action, json).await,
        Command::Targets { action } => lists::targets(&fleet()?, action, json).await,
        Command::Schedules { action } => lists::schedules(&fleet()?, action, json).await,
        Command::Sagas(options) => lists::sagas(&fleet()?, options, json).await,
        Command::Story { id } => lists::story(&fleet()?, id, json).await,
        Command::Replay(options) => replay::run(&fleet()?, options, json).await,
        Command::Topology { action } => topology::run(&fleet()?, *action, json).await,
        Command::Contracts { action } => contracts::run(place, action, json).await,
    }
}

async fn diagnose(fleet: &Fleet, options: &Doctor, json: bool) -> Result<Exit, Failed> {
    if options.explain {
        say(&doctor::explained())?;
        return Ok(Exit::Fine);
    }
    let processes: Vec<&dyn Ask> = fleet.processes().collect();
    let findings = doctor::diagnose(&processes, options).await;
    if json {
        say_json(&doctor::as_json(&findings))?;
    } else {
        say(&doctor::as_text(&findings))?;
    }
    Ok(doctor::exit(&findings))
}
