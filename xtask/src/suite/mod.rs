//! The suite: the steps that check everything, the same on a developer's machine and in CI.
//!
//! [`steps`] lists them. Steps of the front lane run in order. A background lane runs the steps
//! that only compile, at the lowest priority and with its output in files. [`summary`] prints the
//! result.

mod outside;
mod step;
mod steps;
mod summary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(crate) use steps::{chaos_runs, names};

use crate::process::{Console, Stop};
use crate::workspace::Workspace;
use step::{Context, Lane, Step};
use summary::{Line, Verdict};

/// Runs the named steps, or all of them. Returns whether all succeeded.
///
/// The first failure ends the run, unless `keep_going` is set.
pub(crate) fn run(workspace: &Workspace, only: &[String], keep_going: bool) -> bool {
    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let chosen: Vec<&Step> = steps::ALL.iter().filter(chosen).collect();
    let begun = Instant::now();
    let lines = run_steps(workspace, &chosen, keep_going);
    summary::close(&lines, begun.elapsed())
}

fn run_steps(workspace: &Workspace, chosen: &[&Step], keep_going: bool) -> Vec<Line> {
    let (front, background): (Vec<&Step>, Vec<&Step>) =
        chosen.iter().partition(|step| step.lane == Lane::Front);
    let stop = Arc::new(Stop::default());
    let (sender, receiver) = channel();
    let mut lines = std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            for step in background {
                let line = if stop.is_asked() {
                    Line::left_out(step)
                } else {
                    run_in_background(workspace, step, stop)
                };
                if line.failed() && !keep_going {
                    stop.ask();
                }
                let _ = sender.send(line); // The front lane has ended with a panic.
            }
        });
        let mut background = Background {
            workspace,
            receiver,
            ended: BTreeMap::new(),
        };
        let mut lines = Vec::new();
        for (at, step) in (1..).zip(&front) {
            let line = match step.after {
                Some(name) if background.wait_for(name).is_some_and(Line::failed) => {
                    Line::left_out(step)
                }
                _ if stop.is_asked() => Line::left_out(step),
                _ => {
                    println!("\n=== {at}/{} {}: {}", front.len(), step.name, step.about);
                    timed(workspace, step, Console::terminal())
                }
            };
            if line.failed() && !keep_going {
                stop.ask();
            }
            lines.push(line);
            background.show_ended();
        }
        lines.extend(background.end());
        lines
    });
    let place = |line: &Line| chosen.iter().position(|step| step.name == line.step);
    lines.sort_by_key(place);
    lines
}

/// The background lane.
struct Background<'a> {
    workspace: &'a Workspace,
    receiver: Receiver<Line>,
    ended: BTreeMap<&'static str, Line>,
}

impl Background<'_> {
    /// Waits for a step. Returns nothing if it is not part of this run.
    fn wait_for(&mut self, name: &str) -> Option<&Line> {
        while !self.ended.contains_key(name)
            && let Ok(line) = self.receiver.recv()
        {
            self.show(line);
        }
        self.ended.get(name)
    }

    fn show_ended(&mut self) {
        while let Ok(line) = self.receiver.try_recv() {
            self.show(line);
        }
    }

    fn end(mut self) -> impl Iterator<Item = Line> {
        while let Ok(line) = self.receiver.recv() {
            self.show(line);
        }
        self.ended.into_values()
    }

    fn show(&mut self, line: Line) {
        println!("\n=== meanwhile: {line}");
        if !matches!(line.verdict, Verdict::NotRun) {
            let log = std::fs::read_to_string(log_of(self.workspace, line.step));
            print!("{}", log.unwrap_or_default());
        }
        self.ended.insert(line.step, line);
    }
}

fn log_of(workspace: &Workspace, step: &str) -> PathBuf {
    workspace.target.join("suite").join(format!("{step}.log"))
}

fn run_in_background(workspace: &Workspace, step: &Step, stop: &Arc<Stop>) -> Line {
    let console = Console::background(&log_of(workspace, step.name), Arc::clone(stop));
    let line = match console {
        Ok(console) => timed(workspace, step, console),
        Err(error) => Line {
            step: step.name,
            verdict: Verdict::Failed(error),
            took: Duration::ZERO,
        },
    };
    // A step that was stopped has not failed.
    if stop.is_asked() && line.failed() {
        Line::left_out(step)
    } else {
        line
    }
}

fn timed(workspace: &Workspace, step: &Step, console: Console) -> Line {
    let begun = Instant::now();
    let context = Context { workspace, console };
    let verdict = match (step.run)(&context) {
        Ok(outcome) => Verdict::Passed(outcome),
        Err(error) => {
            context
                .console
                .say(format!("error: step `{}`: {error:#}", step.name));
            Verdict::Failed(error)
        }
    };
    Line {
        step: step.name,
        verdict,
        took: begun.elapsed(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use anyhow::bail;

    use super::*;
    use step::Outcome;

    const fn step(name: &'static str, lane: Lane, after: Option<&'static str>) -> Step {
        Step {
            name,
            about: "a test",
            lane,
            after,
            run: |_| Ok(Outcome::default()),
        }
    }

    const fn failing(step: Step) -> Step {
        Step {
            run: |_| bail!("it is broken"),
            ..step
        }
    }

    /// The verdicts of steps by their first letter: passed, failed, not run.
    fn verdicts(steps: &[&'static Step], keep_going: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            root: folder.path().to_owned(),
            target: folder.path().to_owned(),
            packages: Vec::new(),
        };
        let lines = run_steps(&workspace, steps, keep_going);
        let letter = |line: &Line| match line.verdict {
            Verdict::Passed(_) => 'p',
            Verdict::Failed(_) => 'f',
            Verdict::NotRun => 'n',
        };
        lines.iter().map(letter).collect()
    }

    static FRONT: Step = step("front", Lane::Front, None);
    static BROKEN: Step = failing(step("broken", Lane::Front, None));
    static BUILD: Step = step("build", Lane::Background, None);
    static BROKEN_BUILD: Step = failing(step("build", Lane::Background, None));
    static ON_BUILD: Step = step("on build", Lane::Front, Some("build"));

    #[test]
    fn the_first_failure_ends_the_run() {
        assert_eq!(verdicts(&[&FRONT, &BROKEN, &ON_BUILD], false), "pfn");
    }

    #[test]
    fn steps_after_a_failure_run_if_asked_to() {
        assert_eq!(verdicts(&[&BROKEN, &FRONT], true), "fp");
    }

    static LONG_BUILD: Step = Step {
        run: |context| {
            context.console.run(Command::new("sleep").arg("600"))?;
            Ok(Outcome::default())
        },
        ..step("build", Lane::Background, None)
    };

    #[test]
    fn a_failure_stops_the_background() {
        assert_eq!(verdicts(&[&LONG_BUILD, &BROKEN], false), "nf");
    }

    #[test]
    fn a_step_runs_after_the_build_that_it_uses() {
        assert_eq!(verdicts(&[&BUILD, &FRONT, &ON_BUILD], false), "ppp");
    }

    #[test]
    fn a_step_is_left_out_if_the_build_that_it_uses_fails() {
        assert_eq!(verdicts(&[&BROKEN_BUILD, &ON_BUILD], true), "fn");
    }

    #[test]
    fn a_step_runs_without_a_build_that_is_not_part_of_the_run() {
        assert_eq!(verdicts(&[&ON_BUILD], false), "p");
    }
}
