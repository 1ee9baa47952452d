//! The steps of `cargo xtask test`, in the order in which they run.
//!
//! Quick steps come first. The workspace is compiled three times and no more: checked by clippy and
//! rustdoc, built with every feature for all tests and examples, and built as users get it. Tests
//! that start the shop as a process belong to the second build and start the program of the third.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::outside;
use super::step::{Context, Lane, Outcome, Step};
use crate::process::{Console, cargo};
use crate::runner::{self, Binary, Tests};
use crate::workspace::{Package, Workspace};
use crate::{tidy, tools};

/// The test programs that start the shop as a process, as package and target.
const END_TO_END: [(&str, &str); 3] = [
    ("shop-e2e", "it"),
    ("shop-e2e", "chart"),
    ("shop", "telemetry"),
];

/// The program that users get.
const SHOP: &str = "shop";

/// Selects everything in the workspace, with the features that only tests need.
const EVERYTHING: [&str; 3] = ["--workspace", "--all-targets", "--all-features"];

/// Features of the framework with which it must compile, too: users may want less than everything.
const FEWER_FEATURES: [&str; 2] = ["", "embedded"];

/// The time limit of an example, which shows one idea and ends.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);

/// The script of an example that runs until it is stopped: it starts the program, uses it and stops
/// it.
const TRY: &str = "try.sh";

/// The number of simulated runs, and of those that are repeated.
const SEEDS: &str = "2000";
const SEEDS_REPEATED: &str = "100";

/// Chaos runs of the suite, the seconds after which none begins, and the seed of the first.
const CHAOS_RUNS: u64 = 2;
const CHAOS_WITHIN: u64 = 150;
const CHAOS_SEED: u64 = 1;

const fn front(
    name: &'static str,
    about: &'static str,
    run: fn(&Context<'_>) -> anyhow::Result<Outcome>,
) -> Step {
    Step {
        name,
        about,
        lane: Lane::Front,
        after: None,
        run,
    }
}

const fn on_release(step: Step) -> Step {
    Step {
        after: Some("release"),
        ..step
    }
}

const fn background(step: Step) -> Step {
    Step {
        lane: Lane::Background,
        ..step
    }
}

/// The whole suite.
pub(super) static ALL: &[Step] = &[
    front(
        "install",
        "programs and packages that the tests need",
        install,
    ),
    front("fmt", "formatting", fmt),
    front("tidy", "the rules of this workspace", tidy),
    background(front("release", "the program that users get", release)),
    background(front("deny", "licenses, bans, sources, advisories", deny)),
    front("clippy", "lints, with warnings as errors", clippy),
    front("docs", "documentation, with warnings as errors", docs),
    front("test", "unit, integration and documentation tests", test),
    // The last step before those that wait for the build in the background, which needs longer.
    front("examples", "every example runs and succeeds", examples),
    on_release(front("e2e", "tests that start the shop as a process", e2e)),
    on_release(front(
        "simulate",
        "2,000 simulated runs of the whole shop",
        simulate,
    )),
    on_release(front(
        "chaos",
        "the shop on real servers under random faults",
        chaos,
    )),
];

/// The names of the steps, for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|step| step.name).collect()
}

fn install(context: &Context<'_>) -> anyhow::Result<Outcome> {
    tools::programs::install(&context.console)?;
    tools::packages::install(&context.console, context.workspace)?;
    Ok(Outcome::default())
}

fn fmt(context: &Context<'_>) -> anyhow::Result<Outcome> {
    context.console.run(&cargo(&["fmt", "--all", "--check"]))?;
    Ok(Outcome::default())
}

fn tidy(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let report = tidy::run(context.workspace)?;
    ensure!(report.is_clean(), "{} findings", report.findings.len());
    Ok(Outcome::default())
}

fn clippy(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let mut command = cargo(&["clippy"]);
    let command = command.args(EVERYTHING).args(["--", "-D", "warnings"]);
    context.console.run(command)?;
    for features in FEWER_FEATURES {
        let mut command = cargo(&["clippy", "--package", "wingbeat", "--no-default-features"]);
        let command = command.args(["--features", features, "--", "-D", "warnings"]);
        context.console.run(command)?;
    }
    Ok(Outcome::default())
}

fn docs(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let mut command = cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    context
        .console
        .run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    package(context)?;
    Ok(Outcome::default())
}

/// Packages every crate that can be published, without compiling the packages.
fn package(context: &Context<'_>) -> anyhow::Result<()> {
    let mut command = cargo(&["package", "--no-verify", "--allow-dirty", "--offline"]);
    let packages = context.workspace.packages.iter();
    for package in packages.filter(|it| it.folder.starts_with("crates/")) {
        command.args(["--package", &package.name]);
    }
    context.console.run(&command)
}

fn deny(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let remarks = tools::deny::run(&context.console, context.workspace)?;
    Ok(Outcome::with_remarks(remarks))
}

/// Builds the shop as users get it. Default features are linted nowhere else, so a warning fails.
fn release(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let mut warnings = 0;
    let command = cargo(&["build", "--release"]);
    let status = context.console.lines(&command, "", |line| {
        warnings += usize::from(line.starts_with("warning: `") && line.contains(" generated "));
    })?;
    ensure!(status.success(), "the release build fails");
    ensure!(
        warnings == 0,
        "{warnings} targets have warnings without optional features"
    );
    tidy::sabotage::refuse_in_binary(context.workspace)?;
    Ok(Outcome::default())
}

fn test(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let (binaries, compiling) = build(context)?;
    let mut others: Vec<&Binary> = binaries.iter().filter(|it| !is_end_to_end(it)).collect();
    // The long programs first: none runs alone at the end.
    others.sort_by_key(|it| it.target != "it");
    let mut tests = runner::run(&context.console, &others)?;
    let docs = ["--workspace", "--all-features"];
    tests.add(runner::run_docs(&context.console, &docs)?);
    Ok(outcome(tests, compiling))
}

fn e2e(context: &Context<'_>) -> anyhow::Result<Outcome> {
    release(context)?;
    let (binaries, compiling) = build(context)?;
    sabotaged(context.workspace)?;
    let ours: Vec<&Binary> = binaries.iter().filter(|it| is_end_to_end(it)).collect();
    let tests = runner::run(&context.console, &ours)?;
    Ok(outcome(tests, compiling))
}

/// Builds everything with every feature.
fn build(context: &Context<'_>) -> anyhow::Result<(Vec<Binary>, Duration)> {
    runner::build(&context.console, context.workspace, &EVERYTHING)
}

fn is_end_to_end(binary: &Binary) -> bool {
    let name = (binary.package.as_str(), binary.target.as_str());
    END_TO_END.contains(&name)
}

fn outcome(tests: Tests, compiling: Duration) -> Outcome {
    Outcome {
        tests,
        compiling: Some(compiling),
        ..Outcome::default()
    }
}

/// Copies the shop with the feature `sabotage` to the place where the negative controls expect it.
/// The build with every feature has built it.
fn sabotaged(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target.join("sabotaged");
    fs::create_dir_all(&folder)?;
    let built = workspace.program("debug", SHOP);
    fs::copy(&built, folder.join(SHOP)).with_context(|| built.display().to_string())?;
    Ok(())
}

/// Simulates the shop with many seeds, and some of them twice: their output must be equal.
fn simulate(context: &Context<'_>) -> anyhow::Result<Outcome> {
    release(context)?;
    let shop = context.workspace.program("release", SHOP);
    let simulate = |seeds: &str| {
        let mut command = Command::new(&shop);
        command.args(["simulate", "--seeds", seeds]);
        command
    };
    context.console.run(&simulate(SEEDS))?;
    let once = context.console.output(&simulate(SEEDS_REPEATED))?;
    let twice = context.console.output(&simulate(SEEDS_REPEATED))?;
    ensure!(
        once == twice,
        "the same seeds give different runs:\n{once}\n{twice}"
    );
    Ok(Outcome::default())
}

fn chaos(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let (workspace, console) = (context.workspace, &context.console);
    chaos_runs(
        console,
        workspace,
        CHAOS_RUNS,
        CHAOS_SEED,
        Some(CHAOS_WITHIN),
    )?;
    Ok(Outcome::with_remarks(vec![format!(
        "up to {CHAOS_RUNS} runs"
    )]))
}

/// Runs chaos on the release build, starting with this seed. With a limit, no run begins after it.
///
/// # Errors
///
/// Fails if something does not compile or a run breaks an invariant.
pub(crate) fn chaos_runs(
    console: &Console,
    workspace: &Workspace,
    runs: u64,
    seed: u64,
    within: Option<u64>,
) -> anyhow::Result<()> {
    console.run(&cargo(&["build", "--release"]))?;
    console.run(cargo(&["build"]).args(EVERYTHING))?;
    let mut command = Command::new(workspace.program("debug", "chaos"));
    command.args(["--runs", &runs.to_string(), "--seed", &seed.to_string()]);
    if let Some(seconds) = within {
        command.args(["--within", &seconds.to_string()]);
    }
    command.arg("--out").arg(workspace.target.join("chaos"));
    command
        .arg("--shop")
        .arg(workspace.program("release", SHOP));
    console.run(&command)
}

/// Runs every example in an empty folder. One is built outside the workspace, and tested.
fn examples(context: &Context<'_>) -> anyhow::Result<Outcome> {
    let examples = numbered_examples(context.workspace);
    ensure!(!examples.is_empty(), "there is no example");
    context.console.run(cargo(&["build"]).args(EVERYTHING))?;
    for example in &examples {
        run_example(context, example)?;
    }
    let outside = outside::test(context)?;
    run_example(context, &outside.package)?;
    let mut tests = outside.tests;
    tests.add(outside::new_project(context)?);
    let remarks = vec![
        format!("{} examples", examples.len() + 1),
        format!("{}: {} lines", outside.package.name, outside.lines),
    ];
    Ok(Outcome {
        tests,
        remarks,
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

fn run_example(context: &Context<'_>, example: &Package) -> anyhow::Result<()> {
    let workspace = context.workspace;
    context.console.say(format!("--- {}", example.folder));
    ensure!(
        example.binaries().next().is_some(),
        "{} has no program",
        example.name
    );
    let folder = workspace.target.join("run").join(&example.name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let script = workspace.root.join(&example.folder).join(TRY);
    for binary in example.binaries() {
        let program = workspace.program("debug", binary);
        let mut command = if script.is_file() {
            let mut script_first = Command::new("sh");
            script_first.arg(&script).arg(program);
            script_first
        } else {
            Command::new(program)
        };
        let command = command.current_dir(&folder);
        context.console.run_within(EXAMPLE_LIMIT, command)?;
    }
    Ok(())
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

    fn workspace(packages: Vec<Package>) -> Workspace {
        Workspace {
            root: PathBuf::new(),
            target: std::env::temp_dir(),
            packages,
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
        let workspace = workspace(folders.map(package).to_vec());
        let found: Vec<&str> = numbered_examples(&workspace)
            .iter()
            .map(|package| package.folder.as_str())
            .collect();
        assert_eq!(found, ["examples/01-hello", "examples/02-timers"]);
    }

    #[test]
    fn an_example_without_a_program_is_a_failure() {
        let context = Context {
            workspace: &workspace(Vec::new()),
            console: Console::terminal(),
        };
        let error = run_example(&context, &package("examples/03-empty")).unwrap_err();
        assert!(error.to_string().contains("no program"), "{error}");
    }

    #[test]
    fn a_step_that_waits_for_another_waits_for_one_that_comes_before_it() {
        for (at, step) in ALL.iter().enumerate() {
            let before = |name: &str| ALL[..at].iter().any(|other| other.name == name);
            assert!(step.after.is_none_or(before), "{}", step.name);
        }
    }
}
