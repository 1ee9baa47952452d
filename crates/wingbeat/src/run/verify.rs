//! `<program> verify`: checks what the services store, beside the processes that run.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap_builder::{Arg, ArgAction, ArgMatches, Command};

use super::arguments::sources;
use super::backends::Backends;
use super::error::RunError;
use super::logs;
use super::output::{complain, say};
use super::program::{Program, Roles};
use super::settings::{Field, Settings};
use crate::verify::{Checked, Defect, Step, Summary};
use crate::{App, Name, Ports, SharedRuntime, TokioRuntime};

/// The exit code if something is wrong.
const DEFECTS: u8 = 1;
/// The pause between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Defines the command. `flags` adds the settings of a program.
pub(super) fn command(flags: impl Fn(Command) -> Command) -> Command {
    let verify = Command::new("verify")
        .about(
            "Check that all stored data can be decoded, and that snapshots, histories and index \
             rows agree: exit code 0 if they do, else 1; changes nothing, and may run beside the \
             services",
        )
        .arg(
            Arg::new("service")
                .long("service")
                .action(ArgAction::Append)
                .value_name("NAME")
                .help("Check only this service; can be repeated"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .default_value("20")
                .value_parser(clap_builder::value_parser!(u64))
                .help("The defects to print of each table; more are counted"),
        );
    flags(verify)
}

/// Runs the command.
pub(super) async fn run<P: Program>(program: &P, args: &ArgMatches) -> Result<ExitCode, RunError> {
    let sources = sources(&Field::of::<P::Own>(), args);
    let (settings, faults) = Settings::<P::Own>::read_all(&sources);
    RunError::all(faults.into_iter().map(RunError::from).collect())?;
    let logs = logs::start(&settings, program.name())?;
    let verified = verify(program, &settings, args).await;
    logs.close().await;
    Ok(match verified?.defects {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(DEFECTS),
    })
}

async fn verify<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    args: &ArgMatches,
) -> Result<Summary, RunError> {
    let only = chosen(program, settings, args)?;
    let runtime = TokioRuntime::new();
    let (servers, tls) = (settings.servers.as_ref(), &settings.tls);
    let shown = format!("{} verify", program.name());
    let backends = Backends::open_to_read(servers, &settings.data, &shown, tls, &runtime).await?;
    // Nothing runs here.
    let roles = Roles {
        services: BTreeSet::new(),
        others: BTreeSet::new(),
        whole: false,
    };
    let state = program.begin(settings, &roles, &backends.ports).await?;
    let app = program
        .system(settings, &roles, &state)
        .run_only(only.clone());
    app.check()?;
    let limit = args.get_one("limit").copied().unwrap_or_default();
    verify_on(&backends.ports, &app, &only, limit).await
}

/// Returns the services that are named, or all.
fn chosen<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    args: &ArgMatches,
) -> Result<Vec<String>, RunError> {
    let known = program.services(settings);
    let Some(names) = args.get_many::<String>("service") else {
        return Ok(known.into_iter().map(str::to_owned).collect());
    };
    let names: Vec<String> = names.cloned().collect();
    let mut unknown = names.iter().filter(|it| !known.contains(&it.as_str()));
    match unknown.next() {
        None => Ok(names),
        Some(name) => Err(RunError::UnknownService {
            name: name.clone(),
            known: known.join(", "),
        }),
    }
}

async fn verify_on(
    ports: &Ports,
    app: &App,
    only: &[String],
    limit: u64,
) -> Result<Summary, RunError> {
    let services: Vec<Name> = only.iter().map(|name| Name::intern(name)).collect();
    ports.store.inspect(&services).await?;
    let mut report = Report::new(Arc::clone(&ports.runtime), limit);
    let summary = app
        .verify(Arc::clone(&ports.store), |step| report.add(step))
        .await?;
    report.end(summary);
    Ok(summary)
}

/// Prints a verification as it goes on.
struct Report {
    runtime: SharedRuntime,
    limit: u64,
    /// The defects of the current table that were printed.
    printed: u64,
    /// The number of defects by code.
    codes: BTreeMap<&'static str, u64>,
    /// The time of the last line of progress.
    shown_at: Duration,
}

impl Report {
    fn new(runtime: SharedRuntime, limit: u64) -> Self {
        Self {
            shown_at: runtime.elapsed(),
            runtime,
            limit,
            printed: 0,
            codes: BTreeMap::new(),
        }
    }

    fn add(&mut self, step: Step) {
        match step {
            Step::Found(defect) => self.found(&defect),
            Step::Progress(so_far) => self.progress(&so_far),
            Step::Done(checked) => self.done(&checked),
            Step::Rebuilding(service, table) => say(format_args!(
                "{service}: rows of {table} are not compared: a rebuild is still to write them for \
                 this release (GET /ops/rebuilds)"
            )),
        }
    }

    fn found(&mut self, defect: &Defect) {
        *self.codes.entry(defect.code).or_default() += 1;
        if self.printed < self.limit {
            self.printed += 1;
            let Defect {
                service,
                kind,
                table,
                id,
                code,
                text,
            } = defect;
            let (id, text) = (printable(id), printable(text));
            say(format_args!(
                "{code}  {service}: {kind} {table}, {id}: {text}"
            ));
        }
    }

    fn progress(&mut self, so_far: &Checked) {
        let now = self.runtime.elapsed();
        if now.saturating_sub(self.shown_at) < PROGRESS_EVERY {
            return;
        }
        self.shown_at = now;
        complain(format_args!("{} so far", described(so_far)));
    }

    fn done(&mut self, checked: &Checked) {
        let more = checked.defects.saturating_sub(self.printed);
        self.printed = 0;
        if more > 0 {
            say(format_args!("… and {more} more defects (--limit)"));
        }
        if checked.records > 0 {
            say(described(checked));
        }
    }

    fn end(&self, summary: Summary) {
        let Summary { records, defects } = summary;
        say(format_args!("{records} checked, {defects} defects"));
        for (code, count) in &self.codes {
            say(format_args!(
                "{count} × {code}: docs/errors/{code}.md says what to do"
            ));
        }
    }
}

fn described(checked: &Checked) -> String {
    let Checked {
        service,
        kind,
        table,
        records,
        defects,
    } = checked;
    format!("{service}: {kind} {table}: {records} checked, {defects} defects")
}

/// The longest id or text that is printed, in bytes.
const TEXT_MAX: usize = 512;

fn printable(text: &str) -> String {
    wingbeat_core::text::printable(text, TEXT_MAX)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::program::Plain;
    use super::*;
    use crate::{Entity, Service, Stored, Table, run_unit};

    #[derive(Clone, Serialize, Deserialize, crate::JsonSchema)]
    struct Room {
        beds: u32,
    }

    impl Entity for Room {
        const NAME: &'static str = "room";
        type Id = u32;
    }

    /// A room of another release.
    #[derive(Clone, Serialize, Deserialize)]
    struct Suite {
        rooms: u32,
    }

    impl Entity for Suite {
        const NAME: &'static str = "room";
        type Id = u32;
    }

    fn hotel() -> App {
        let rooms = Service::new("rooms").stores(Stored::entity::<Room>());
        App::new().service(rooms).service(Service::new("doors"))
    }

    fn verified(data: &std::path::Path, flags: &[&str]) -> Result<u64, RunError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().build();
        let runtime = runtime.expect("it starts");
        let given = ["verify"].iter().chain(flags);
        let args = command(|it| it).get_matches_from(given);
        let settings = Settings::<()> {
            data: data.into(),
            ..Settings::default()
        };
        let program = Plain::new(|_: &Settings<()>| hotel());
        let verified = runtime.block_on(verify(&program, &settings, &args));
        verified.map(|it| it.defects)
    }

    #[test]
    fn the_command_runs_beside_the_program_and_finds_what_cannot_be_decoded() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        assert!(verified(path, &[]).is_err(), "there is no store");
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.enable_all().build().expect("it starts");
        let running = runtime.block_on(async {
            let (clock, tls) = (TokioRuntime::new(), crate::tls::TlsFiles::default());
            let opened = Backends::open(None, path, "hotel", &tls, &clock).await;
            let ports = opened.expect("it opens").ports;
            hotel().start(ports).await.expect("it starts")
        });
        let rooms = running.service("rooms").expect("it runs");
        let put = async |scope: crate::Scope| Table::of(&scope).put(&1, Room { beds: 2 });
        runtime.block_on(run_unit(&rooms, put)).expect("stored");
        assert_eq!(verified(path, &[]).expect("it reads"), 0);
        let put = async |scope: crate::Scope| Table::of(&scope).put(&2, Suite { rooms: 2 });
        runtime.block_on(run_unit(&rooms, put)).expect("stored");
        assert_eq!(verified(path, &[]).expect("it reads"), 1);
        let verified = |service| verified(path, &["--service", service, "--limit", "0"]);
        assert_eq!(verified("rooms").expect("it reads"), 1);
        assert_eq!(verified("doors").expect("it reads"), 0);
        assert!(matches!(
            verified("bars"),
            Err(RunError::UnknownService { .. })
        ));
    }
}
