//! The command `contracts`, which writes the documents and schemas of a system.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_builder::{Arg, ArgAction, ArgMatches, Command};

use super::error::RunError;
use super::output::{complain, say};
use super::program::Program;
use crate::contracts::Contracts;

/// The exit code after a change that breaks a contract.
const BROKEN: u8 = 1;

/// The definition of the command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("contracts")
        .about(
            "Write AsyncAPI, OpenAPI and the JSON Schemas of all messages and of what is stored; \
             exit code 1 after a change that breaks something",
        )
        .arg(
            Arg::new("directory")
                .value_name("DIR")
                .default_value("contracts")
                .value_parser(clap_builder::value_parser!(PathBuf))
                .help("The directory of the files, which a repository keeps"),
        )
        .arg(flag("check", "Only compare: write nothing").conflicts_with("accept"))
        .arg(flag(
            "accept",
            "Write the files although a change breaks something",
        ))
}

/// Runs the command.
pub(super) fn run<P: Program>(program: &P, args: &ArgMatches) -> ExitCode {
    let directory = args.get_one::<PathBuf>("directory");
    let directory = directory.expect("it has a default");
    match keep(
        program,
        directory,
        args.get_flag("check"),
        args.get_flag("accept"),
    ) {
        Ok(code) => code,
        Err(why) => {
            complain(format_args!("{}: {why}", program.name()));
            ExitCode::from(2)
        }
    }
}

fn keep<P: Program>(
    program: &P,
    directory: &Path,
    check: bool,
    accept: bool,
) -> Result<ExitCode, RunError> {
    let file = |why| RunError::File(directory.display().to_string(), why);
    let Some((system, info)) = program.contracts() else {
        let text = "this program does not implement `Program::contracts`";
        return Err(RunError::Program(text.into()));
    };
    let contracts = Contracts::of(system, &info);
    let older = if directory.exists() {
        Contracts::read(directory).map_err(file)?
    } else {
        Contracts::default()
    };
    let comparison = contracts.compare(&older);
    if !comparison.is_kept() && !accept {
        complain(&comparison);
        complain("Nothing was written. `--accept` writes the files all the same.");
        return Ok(ExitCode::from(BROKEN));
    }
    if check {
        say(&comparison);
        return Ok(ExitCode::SUCCESS);
    }
    let files = contracts.write(directory).map_err(file)?;
    say(format_args!("{files} files in {}", directory.display()));
    Ok(ExitCode::SUCCESS)
}
