//! `wingbeat replay`: exports a recorded story, and lets the user's program run it again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;
use wingbeat::Uuid;
use wingbeat::story::Story;

use crate::arguments::Replay;
use crate::client::Unanswered;
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{say, say_json};

/// Runs the command.
pub(crate) async fn run(fleet: &Fleet, options: &Replay, json: bool) -> Result<Exit, Failed> {
    let id: Uuid = options.id.parse().map_err(|_| {
        let id = &options.id;
        Failed::local(format!(
            "{id:?} is neither a correlation id nor a dead letter"
        ))
    })?;
    let story = exported(fleet, id).await?;
    let out = options.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(format!("{id}.json")));
    std::fs::write(&out, story.encode())
        .map_err(|why| Failed::local(format!("{} cannot be written: {why}", out.display())))?;
    if json {
        say_json(&json!({ "file": out, "units": story.units.len() }))?;
    } else {
        let (units, file) = (story.units.len(), out.display());
        say(&format!("{file}: {units} units"))?;
    }
    match options.command.as_slice() {
        [] => Ok(Exit::Fine),
        [program, arguments @ ..] => replay(program, arguments, &out),
    }
}

/// Returns the story with this correlation id, or the attempt that ended as this dead letter.
async fn exported(fleet: &Fleet, id: Uuid) -> Result<Story, Failed> {
    let paths = [
        format!("/ops/recordings/{id}"),
        format!("/ops/dead-letters/{id}/recording"),
    ];
    for path in paths {
        if let Some(story) = merged(fleet, &path).await? {
            return Ok(story);
        }
    }
    let text = "nothing was recorded of it: does the app run with --record?";
    Err(Failed::new(Exit::Absent, text))
}

/// Merges the parts of all processes; `None` if none has one.
async fn merged(fleet: &Fleet, path: &str) -> Result<Option<Story>, Failed> {
    let mut whole: Option<Story> = None;
    for process in fleet.processes() {
        let answer = match process.ask("GET", path).await {
            Ok(answer) => answer,
            Err(Unanswered::Absent) => continue,
            Err(why) => return Err(why.failed(process.name())),
        };
        let part = Story::decode(answer.to_string().as_bytes());
        let unreadable = |why| Failed::new(Exit::Unreachable, format!("{}: {why}", process.name()));
        let part = part.map_err(unreadable)?;
        match &mut whole {
            Some(whole) => whole.merge(part),
            None => whole = Some(part),
        }
    }
    Ok(whole)
}

/// Runs the program with the file as its last argument.
fn replay(program: &OsString, arguments: &[OsString], file: &Path) -> Result<Exit, Failed> {
    let status = std::process::Command::new(program)
        .args(arguments)
        .arg(file)
        .status();
    let status = status.map_err(|why| {
        let program = program.to_string_lossy();
        Failed::local(format!("{program} cannot be run: {why}"))
    })?;
    Ok(if status.success() {
        Exit::Fine
    } else {
        Exit::Found
    })
}
