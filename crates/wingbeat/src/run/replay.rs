//! `<program> replay`: runs recorded stories again on the code of this program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap_builder::{Arg, ArgAction, ArgMatches, Command};

use super::arguments::sources;
use super::error::RunError;
use super::output::{complain, say};
use super::program::{Program, Roles};
use super::settings::{Field, Settings};
use crate::Result;
use crate::test::replay::{Recorded, Replayer, load_all};
use crate::test::{Model, Simulation};

/// The exit code if something differs.
const DIFFERS: u8 = 1;
/// The exit code if a file cannot be read, or nothing could be replayed.
const UNREADABLE: u8 = 2;

/// Defines the command. `flags` adds the settings of a program.
pub(super) fn command(flags: impl Fn(Command) -> Command) -> Command {
    let files = Arg::new("stories")
        .value_name("FILE")
        .action(ArgAction::Append)
        .num_args(1..)
        .required(true)
        .value_parser(clap_builder::value_parser!(PathBuf))
        .help("Files of `wingbeat replay`, or folders of them");
    let replay = Command::new("replay").about(
        "Run the handlers of recorded stories again on this program's code, and compare what they \
         do: exit code 0 if nothing differs, 1 if something does; changes nothing",
    );
    flags(replay.arg(files))
}

/// Runs the command.
pub(super) async fn run<P: Program>(program: &P, args: &ArgMatches) -> Result<ExitCode, RunError> {
    let sources = sources(&Field::of::<P::Own>(), args);
    let settings = Settings::<P::Own>::read(&sources)?;
    replay(program, &settings, args).await
}

async fn replay<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    args: &ArgMatches,
) -> Result<ExitCode, RunError> {
    let replayer = replayer(program, settings).await?;
    let paths = args.get_many::<PathBuf>("stories").unwrap_or_default();
    let mut stories = Vec::new();
    for path in paths {
        match load_all(path) {
            Ok(found) => stories.extend(found.into_values()),
            Err(why) => {
                complain(format!("{}: {why}", program.name()));
                return Ok(ExitCode::from(UNREADABLE));
            }
        }
    }
    Ok(ExitCode::from(replay_all(&replayer, &stories)))
}

/// Takes the code of the program. No server is asked: the services do not run.
async fn replayer<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
) -> Result<Replayer, RunError> {
    let roles = Roles {
        services: Default::default(),
        others: Default::default(),
        whole: false,
    };
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let ports = model.ports(&simulation.group(), crate::call::HyperClient::new());
    let state = program.begin(settings, &roles, &ports).await?;
    let app = program.system(settings, &roles, &state);
    app.check()?;
    Ok(Replayer::new(app))
}

fn replay_all(replayer: &Replayer, stories: &[Recorded]) -> u8 {
    let (mut units, mut differing) = (0, 0);
    for recorded in stories {
        let report = replayer.replay(recorded.story());
        units += report.replayed;
        differing += usize::from(!report.differences.is_empty());
        say(report.to_string());
        for it in &report.skipped {
            say(format!(
                "  unit {}: {}, not replayed: {}",
                it.unit, it.input, it.why
            ));
        }
    }
    let count = stories.len();
    say(format!(
        "{count} stories, {units} units replayed, {differing} stories differ"
    ));
    match (units, differing) {
        (0, _) => UNREADABLE,
        (_, 0) => 0,
        _ => DIFFERS,
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use wingbeat_core::{Kind, Message};

    use super::super::program::Plain;
    use super::*;
    use crate::test::TestApp;
    use crate::{App, Entity, JsonSchema, Recording, Service, Table, Uuid};

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sell {
        item: String,
        count: u32,
    }

    impl Message for Sell {
        const NAME: &'static str = "till.sell.v1";
        const KIND: Kind = Kind::Command;

        fn key(&self) -> String {
            self.item.clone()
        }
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Sold(u32);

    impl Entity for Sold {
        const NAME: &'static str = "sold";
        type Id = String;
    }

    async fn sell(it: Sell, sold: Table<Sold>) -> Result<()> {
        sold.put(&it.item, Sold(it.count))
    }

    async fn sell_one(it: Sell, sold: Table<Sold>) -> Result<()> {
        sell(Sell { count: 1, ..it }, sold).await
    }

    fn till(has_bug: bool) -> App {
        let till = Service::new("till");
        App::new().service(if has_bug {
            till.on(sell_one)
        } else {
            till.on(sell)
        })
    }

    fn replayed(has_bug: bool, path: &std::path::Path) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        let runtime = runtime.expect("it starts");
        let path = path.to_str().expect("UTF-8");
        let args = command(|it| it).get_matches_from(["replay", path]);
        let program = Plain::new(move |_: &Settings<()>| till(has_bug));
        let settings = Settings::default();
        let replayed = replay(&program, &settings, &args);
        runtime.block_on(replayed).expect("its wiring is right")
    }

    #[test]
    fn the_exit_code_says_whether_something_differs() {
        let app = TestApp::start(1, till(true).recording(Recording::all()));
        let story = Uuid::from_u128(7);
        let item = "egg".to_owned();
        app.publish(story, &Sell { item, count: 12 });
        app.until_idle();
        let recorded = app.run(app.running().recorded(story.into()));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("egg.json");
        std::fs::write(&file, recorded.expect("it reads").encode()).expect("it is written");
        assert_eq!(replayed(true, &file), ExitCode::SUCCESS);
        assert_eq!(replayed(false, folder.path()), ExitCode::from(DIFFERS));
        let absent = folder.path().join("absent.json");
        assert_eq!(replayed(false, &absent), ExitCode::from(UNREADABLE));
    }
}
