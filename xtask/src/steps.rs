//! What `cargo xtask test` consists of, in the order in which it runs.
//!
//! Cheap and telling steps come first. There are two profiles and no more, dev and release, so that
//! two cores are through in an hour.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::tally::Tally;
use crate::workspace::{Package, Workspace};
use crate::{deny, install, process, tidy};

/// The package whose tests need the optimized `shop` binary.
const END_TO_END: &str = "shop-e2e";

/// The program that users get.
const SHOP: &str = "shop";

/// The package that shows on a real broker what goes wrong without a mechanism.
const ON_BROKER: &str = "wingbeat-rabbitmq";

/// The feature by which a promise can be broken, each caught by a test of [`END_TO_END`] or [`ON_BROKER`].
const SABOTAGE: &str = "sabotage";

/// The feature by which the shop sends spans to a collector.
const OTLP: &str = "shop/otlp";

/// How long an example may take; it shows one idea and ends by itself.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);

/// A part of the suite that can be run alone.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Workspace) -> anyhow::Result<Outcome>,
}

/// What a step that did not fail has to say.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// What the reader of the summary must know, such as a check that could not be made.
    pub(crate) remarks: Vec<String>,
}

/// The whole suite.
pub(crate) const ALL: &[Step] = &[
    Step {
        name: "install",
        what: "find or install what the tests need",
        run: install::run,
    },
    Step {
        name: "fmt",
        what: "formatting",
        run: fmt,
    },
    Step {
        name: "clippy",
        what: "lints, warnings as errors",
        run: clippy,
    },
    Step {
        name: "tidy",
        what: "the rules of this workspace",
        run: tidy,
    },
    Step {
        name: "deny",
        what: "licences, bans, sources, advisories",
        run: deny::run,
    },
    Step {
        name: "test",
        what: "unit, integration and documentation tests",
        run: test,
    },
    Step {
        name: "controls",
        what: "tests of the broker that must fail without what they guard",
        run: controls,
    },
    Step {
        name: "telemetry",
        what: "the shop with spans, as a collector sees them",
        run: telemetry,
    },
    Step {
        name: "docs",
        what: "documentation, warnings as errors",
        run: docs,
    },
    Step {
        name: "release",
        what: "the optimized binary and the tests on it",
        run: release,
    },
    Step {
        name: "simulate",
        what: "the whole shop from 2,000 seeds, and the same seeds twice",
        run: simulate,
    },
    Step {
        name: "chaos",
        what: "the shop as processes on real servers, broken from a few seeds",
        run: chaos,
    },
    Step {
        name: "examples",
        what: "every example runs and exits 0",
        run: examples,
    },
];

/// The names of the steps, for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|step| step.name).collect()
}

fn fmt(_: &Workspace) -> anyhow::Result<Outcome> {
    process::run(&mut process::cargo(&["fmt", "--all", "--check"]))?;
    Ok(Outcome::default())
}

fn clippy(_: &Workspace) -> anyhow::Result<Outcome> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    process::run(&mut process::cargo(&args))?;
    Ok(Outcome::default())
}

fn tidy(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let report = tidy::run(workspace)?;
    anyhow::ensure!(report.is_clean(), "{} findings", report.findings.len());
    Ok(Outcome::default())
}

fn test(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let mut command = process::cargo(&["test", "--workspace", "--no-fail-fast"]);
    if workspace.package(END_TO_END).is_some() {
        command.args(["--exclude", END_TO_END]);
    }
    let tally = process::run_tests(&mut command)?;
    Ok(Outcome {
        tally,
        ..Outcome::default()
    })
}

/// What only a real broker shows: its tests fail where a mechanism is taken away.
fn controls(_: &Workspace) -> anyhow::Result<Outcome> {
    let args = [
        "test",
        "-p",
        ON_BROKER,
        "--features",
        SABOTAGE,
        "--test",
        "it",
        "controls",
    ];
    let tally = process::run_tests(&mut process::cargo(&args))?;
    Ok(Outcome {
        tally,
        ..Outcome::default()
    })
}

/// The one step that builds [`OTLP`]: all of the workspace takes part, so that its dependencies are those of
/// the steps before.
fn telemetry(_: &Workspace) -> anyhow::Result<Outcome> {
    let with_spans = ["--workspace", "--features", OTLP];
    let mut lint = process::cargo(&["clippy"]);
    lint.args(with_spans)
        .args(["--all-targets", "--", "-D", "warnings"]);
    process::run(&mut lint)?;
    let mut test = process::cargo(&["test"]);
    test.args(with_spans).args(["--test", "telemetry"]);
    let tally = process::run_tests(&mut test)?;
    Ok(Outcome {
        tally,
        ..Outcome::default()
    })
}

fn docs(_: &Workspace) -> anyhow::Result<Outcome> {
    let mut command = process::cargo(&["doc", "--workspace", "--no-deps"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::default())
}

fn release(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if workspace.package(END_TO_END).is_some() {
        sabotaged(workspace)?;
    }
    process::run(&mut process::cargo(&["build", "--release"]))?;
    tidy::sabotage::refuse_in_binary(workspace)?;
    if workspace.package(END_TO_END).is_none() {
        return Ok(absent(&format!("package {END_TO_END}")));
    }
    let args = ["test", "--release", "-p", END_TO_END, "--no-fail-fast"];
    let tally = process::run_tests(&mut process::cargo(&args))?;
    // The sabotaged builds of those tests must not have replaced the real one.
    tidy::sabotage::refuse_in_binary(workspace)?;
    Ok(Outcome {
        tally,
        ..Outcome::default()
    })
}

/// Two thousand lifetimes of the shop, and the same ones twice.
fn simulate(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let shop = workspace.release_binary(SHOP);
    if !shop.exists() {
        return Ok(absent("the release binary"));
    }
    let simulate = |seeds: &str| {
        let mut command = std::process::Command::new(&shop);
        command.args(["simulate", "--seeds", seeds]);
        command
    };
    process::run(&mut simulate("2000"))?;
    let (once, twice) = (simulate("100").output()?, simulate("100").output()?);
    anyhow::ensure!(once.status.success(), "the first seeds fail");
    anyhow::ensure!(
        once.stdout == twice.stdout,
        "the same seeds tell different stories: {} and {}",
        String::from_utf8_lossy(&once.stdout),
        String::from_utf8_lossy(&twice.stdout)
    );
    Ok(Outcome::default())
}

/// Runs of chaos in CI, the seconds after which none begins, and the first one's seed; more of them by hand.
const CHAOS_RUNS: u64 = 6;
const CHAOS_WITHIN: u64 = 360;
const CHAOS_SEED: u64 = 1;

fn chaos(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if workspace.package(END_TO_END).is_none() {
        return Ok(absent(&format!("package {END_TO_END}")));
    }
    chaos_runs(workspace, CHAOS_RUNS, CHAOS_SEED, Some(CHAOS_WITHIN))?;
    Ok(Outcome {
        remarks: vec![format!("up to {CHAOS_RUNS} runs")],
        ..Outcome::default()
    })
}

/// So many runs of chaos from this seed on, with the optimized shop.
pub(crate) fn chaos_runs(
    workspace: &Workspace,
    runs: u64,
    seed: u64,
    within: Option<u64>,
) -> anyhow::Result<()> {
    process::run(&mut process::cargo(&["build", "--release"]))?;
    let shop = workspace.release_binary(SHOP);
    let out = workspace.target.join("chaos");
    let (runs, seed) = (runs.to_string(), seed.to_string());
    let args = ["run", "--release", "-p", END_TO_END, "--bin", "chaos", "--"];
    let mut command = process::cargo(&args);
    command.args(["--runs", &runs, "--seed", &seed]);
    if let Some(seconds) = within {
        command.args(["--within", &seconds.to_string()]);
    }
    command.arg("--out").arg(out).arg("--shop").arg(shop);
    process::run(&mut command)
}

/// Builds the shop that can be made to break its promises, for the negative controls. It shares the
/// dependencies of the real one, which is built last.
fn sabotaged(workspace: &Workspace) -> anyhow::Result<()> {
    let built = workspace.release_binary(SHOP);
    let folder = built
        .parent()
        .and_then(Path::parent)
        .context("a target folder")?;
    let folder = folder.join("sabotaged");
    fs::create_dir_all(&folder)?;
    process::run(&mut process::cargo(&[
        "build",
        "--release",
        "--features",
        SABOTAGE,
    ]))?;
    fs::copy(&built, folder.join(SHOP))?;
    Ok(())
}

/// Builds all examples at once, because alone each would want its own features of the same
/// dependencies, and runs them in an empty folder.
fn examples(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let examples = numbered_examples(workspace);
    if examples.is_empty() {
        return Ok(absent("examples"));
    }
    let mut build = process::cargo(&["build", "--release"]);
    for example in &examples {
        build.args(["-p", &example.name]);
    }
    process::run(&mut build)?;
    for example in &examples {
        run_example(workspace, example)?;
    }
    let remark = format!("{} examples", examples.len());
    Ok(Outcome {
        remarks: vec![remark],
        ..Outcome::default()
    })
}

/// The packages in `examples/NN-name`, in the order of their numbers.
fn numbered_examples(workspace: &Workspace) -> Vec<&Package> {
    let numbered = |package: &&Package| {
        let folder = package.folder.strip_prefix("examples/").unwrap_or_default();
        folder.starts_with(|first: char| first.is_ascii_digit())
    };
    let mut examples: Vec<&Package> = workspace.packages.iter().filter(numbered).collect();
    examples.sort_by(|a, b| a.folder.cmp(&b.folder));
    examples
}

fn run_example(workspace: &Workspace, example: &Package) -> anyhow::Result<()> {
    println!("--- {}", example.folder);
    anyhow::ensure!(
        example.binaries().next().is_some(),
        "{} has no binary",
        example.name
    );
    let folder = workspace.target.join("run").join(&example.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for binary in example.binaries() {
        let mut command = std::process::Command::new(workspace.release_binary(binary));
        process::run_within(EXAMPLE_LIMIT, command.current_dir(&folder))?;
    }
    Ok(())
}

fn absent(what: &str) -> Outcome {
    let remark = format!("absent: {what}");
    println!("{remark}");
    Outcome {
        remarks: vec![remark],
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn package(folder: &str) -> Package {
        let (name, folder) = (folder.replace('/', "-"), folder.to_owned());
        Package {
            name,
            folder,
            ..Package::default()
        }
    }

    #[test]
    fn examples_are_found_by_their_number_and_run_in_its_order() {
        let folders = [
            "examples/02-timers",
            "crates/wingbeat",
            "examples/01-hello",
            "examples/lib",
        ];
        let packages = folders.map(package).to_vec();
        let workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            packages,
        };
        let found: Vec<&str> = numbered_examples(&workspace)
            .iter()
            .map(|package| package.folder.as_str())
            .collect();
        assert_eq!(found, ["examples/01-hello", "examples/02-timers"]);
    }

    #[test]
    fn an_example_without_a_program_is_a_failure() {
        let target = std::env::temp_dir();
        let workspace = Workspace {
            root: PathBuf::new(),
            target,
            packages: vec![],
        };
        let error = run_example(&workspace, &package("examples/03-empty")).unwrap_err();
        assert!(error.to_string().contains("no binary"), "{error}");
    }
}
