//! The test programs of the workspace, as cargo built them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::output::Output;
use super::{Program, timing};
use crate::process::{Console, cargo};
use crate::workspace::Workspace;

/// The package whose tests compile files with trybuild.
const WITH_TRYBUILD: &str = "wingbeat-macros";

/// The flags of rustc with which trybuild compiles its files, as cargo reads them. Trybuild checks
/// the dependencies with other flags first, and so twice, unless its environment has these.
const TRYBUILD_FLAGS: &str =
    "--cfg\u{1f}trybuild\u{1f}--verbose\u{1f}-A\u{1f}dead_code\u{1f}--diagnostic-width=140";

/// A test program, and the package that it tests.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) package: String,
    /// `lib`, or the name of the program, test or example.
    pub(crate) target: String,
    program: PathBuf,
    manifest: PathBuf,
    /// The folder of the toolchain's libraries: tests of a macro crate are linked to the compiler.
    libraries: OsString,
}

/// The documentation tests, which rustdoc builds and runs through cargo.
pub(super) struct Docs<'a> {
    pub(super) args: &'a [&'a str],
}

/// A message of `cargo build --message-format=json`.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds everything that the arguments of `cargo build` select. Returns the test programs, sorted
/// by package, and the duration of the build.
///
/// # Errors
///
/// Fails if something does not compile.
pub(crate) fn build(
    console: &Console,
    workspace: &Workspace,
    args: &[&str],
) -> anyhow::Result<(Vec<Binary>, Duration)> {
    let begun = Instant::now();
    let mut command = cargo(&["build", "--message-format=json-render-diagnostics"]);
    let messages = console.output(command.args(args))?;
    let libraries = console.output(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let mut binaries = read(&messages, workspace, libraries.trim())?;
    binaries.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok((binaries, begun.elapsed()))
}

fn read(messages: &str, workspace: &Workspace, libraries: &str) -> anyhow::Result<Vec<Binary>> {
    let mut binaries = Vec::new();
    for line in messages.lines() {
        let Message::CompilerArtifact(artifact) = serde_json::from_str(line)? else {
            continue;
        };
        let manifest = artifact.manifest_path;
        let package = workspace.packages.iter();
        let package = package.filter(|it| it.manifest_path == manifest);
        for package in package.filter(|_| artifact.profile.test) {
            let target = &artifact.target;
            let is_program = target
                .kind
                .iter()
                .any(|kind| kind != "lib" && kind != "proc-macro");
            binaries.extend(artifact.executable.clone().map(|program| Binary {
                package: package.name.clone(),
                target: if is_program { &target.name } else { "lib" }.to_owned(),
                program,
                manifest: manifest.clone(),
                libraries: libraries.into(),
            }));
        }
    }
    Ok(binaries)
}

impl Program for Binary {
    fn label(&self) -> String {
        format!("{} {}", self.package, self.target)
    }

    fn command(&self, only: Option<&str>) -> Command {
        // The environment that cargo gives to tests, as far as tests read it.
        let mut command = Command::new(&self.program);
        match only {
            Some(name) => command.args(["--exact", name]),
            None => command.args(["--test-threads", &timing::threads().to_string()]),
        };
        command.env("CARGO_PKG_NAME", &self.package);
        command.env("CARGO_MANIFEST_PATH", &self.manifest);
        command.env("LD_LIBRARY_PATH", &self.libraries);
        if self.package == WITH_TRYBUILD {
            command.env("CARGO_ENCODED_RUSTFLAGS", TRYBUILD_FLAGS);
        }
        if let Some(folder) = self.manifest.parent() {
            command
                .env("CARGO_MANIFEST_DIR", folder)
                .current_dir(folder);
        }
        command
    }

    fn output(&self) -> Output {
        Output::of_program()
    }
}

impl Program for Docs<'_> {
    fn label(&self) -> String {
        "documentation".to_owned()
    }

    fn command(&self, only: Option<&str>) -> Command {
        let mut command = cargo(&["test", "--doc", "--no-fail-fast"]);
        command.args(self.args);
        if let Some(name) = only {
            command.args(["--", "--exact", name]);
        }
        command
    }

    fn output(&self) -> Output {
        Output::of_several()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    #[test]
    fn only_test_programs_of_the_workspace_are_taken() {
        let manifest = "/demo/Cargo.toml";
        let artifact = |kind: &str, name: &str, test: bool, manifest: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{manifest}\",\
                 \"target\":{{\"name\":\"{name}\",\"kind\":[\"{kind}\"]}},\
                 \"profile\":{{\"test\":{test}}},\"executable\":\"/target/{name}-1\"}}\n"
            )
        };
        let messages = [
            artifact("lib", "demo", true, manifest),
            artifact("test", "it", true, manifest),
            artifact("bin", "demo", false, manifest),
            artifact("lib", "other", true, "/other/Cargo.toml"),
            "{\"reason\":\"build-finished\",\"success\":true}\n".to_owned(),
        ];
        let package = Package {
            name: "demo".into(),
            manifest_path: manifest.into(),
            ..Package::default()
        };
        let workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            packages: vec![package],
        };
        let found = read(&messages.concat(), &workspace, "").unwrap();
        let labels: Vec<String> = found.iter().map(Program::label).collect();
        assert_eq!(labels, ["demo lib", "demo it"]);
        let command = found[1].command(Some("a::b"));
        assert_eq!(command.get_program(), "/target/it-1");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--exact", "a::b"]);
        assert_eq!(command.get_current_dir().unwrap(), "/demo");
        let all = found[1].command(None);
        let threads = timing::threads().to_string();
        assert_eq!(
            all.get_args().collect::<Vec<_>>(),
            ["--test-threads", &threads]
        );
    }
}
