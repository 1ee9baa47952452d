//! Simulates one fault.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::build::MUTANT;

/// The pause between two looks at a running simulation.
const POLL: Duration = Duration::from_millis(100);

/// The result for a fault.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub(super) enum Verdict {
    /// An invariant broke.
    Found { seed: u64, invariant: String },
    /// The simulation failed otherwise, such as by a panic.
    Failed,
    /// The simulation did not end.
    Endless,
    /// Every lifetime passed.
    Survived { seconds: u64 },
    /// No lifetime executes the place.
    NotReached,
}

impl Verdict {
    pub(super) fn is_found(&self) -> bool {
        matches!(self, Self::Found { .. } | Self::Failed | Self::Endless)
    }

    pub(super) fn is_unreached(&self) -> bool {
        matches!(self, Self::NotReached)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { seed, invariant } => write!(f, "found at seed {seed}: {invariant}"),
            Self::Failed => f.write_str("found: the simulation fails"),
            Self::Endless => f.write_str("found: the simulation does not end"),
            Self::Survived { seconds } => write!(f, "survived ({seconds} s)"),
            Self::NotReached => f.write_str("never executed"),
        }
    }
}

/// The output of `shop simulate --json`.
#[derive(Deserialize)]
struct Told {
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    seed: u64,
    invariant: String,
}

/// The command that simulates a fault; 0 for none.
pub(super) fn command(program: &Path, mutant: u32, seeds: u64) -> Command {
    let mut command = Command::new(program);
    command.args(["simulate", "--json", "--until-failure", "--no-minimize"]);
    command.args(["--threads", "1", "--seed", "1"]);
    command.args(["--seeds", &seeds.to_string()]);
    command.env(MUTANT, mutant.to_string());
    command
}

/// Simulates lifetimes until one fails.
pub(super) fn simulate(program: &Path, mutant: u32, seeds: u64, limit: Duration) -> Verdict {
    let mut command = command(program, mutant, seeds);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else {
        return Verdict::Failed;
    };
    let begun = Instant::now();
    // The output is one line, so the program never waits for a reader.
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(POLL),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Verdict::Endless;
            }
        }
    }
    let Ok(output) = child.wait_with_output() else {
        return Verdict::Failed;
    };
    let told = serde_json::from_slice::<Told>(&output.stdout).ok();
    match told.map(|told| told.failures.into_iter().next()) {
        Some(Some(Failure { seed, invariant })) => Verdict::Found { seed, invariant },
        Some(None) if output.status.success() => Verdict::Survived {
            seconds: begun.elapsed().as_secs(),
        },
        _ => Verdict::Failed,
    }
}
