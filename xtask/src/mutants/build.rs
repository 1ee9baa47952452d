//! Builds the shop with all faults, from a copy of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::rewrite::{Placed, rewrite};
use super::sites::{self, Form, Site};
use crate::process::{Console, cargo};
use crate::workspace::Workspace;

/// The variable with the number of the fault that is planted.
pub(super) const MUTANT: &str = "MUTANT";
/// The variable with a file, to which each place adds its number when it is executed first.
pub(super) const REACHED: &str = "MUTANTS_REACHED";

/// The services' files without decisions about orders, stock and money: queries of the audit,
/// settings, wiring, pages, transports.
const LEFT_OUT: [&str; 16] = [
    "/gateway/",
    "/smtp/",
    "api.rs",
    "audit.rs",
    "config.rs",
    "failures.rs",
    "hashing.rs",
    "lib.rs",
    "letter.rs",
    "mailbox.rs",
    "mailer.rs",
    "open_streams.rs",
    "password.rs",
    "sabotage.rs",
    "seeding.rs",
    "stream.rs",
];

/// The number of builds after which faults that do not compile are an error.
const BUILDS_MAX: usize = 12;

/// The condition of all places, for the copy of the contracts.
const CONDITION: &str = r#"
/// Returns whether this fault is planted.
pub fn mutant(number: u32) -> bool {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{LazyLock, Mutex};
    static PLANTED: LazyLock<u32> = LazyLock::new(|| {
        std::env::var("MUTANT").ok().and_then(|it| it.parse().ok()).unwrap_or(0)
    });
    static LIST: LazyLock<Option<Mutex<std::fs::File>>> = LazyLock::new(|| {
        let path = std::env::var("MUTANTS_REACHED").ok()?;
        std::fs::OpenOptions::new().append(true).open(path).ok().map(Mutex::new)
    });
    static SEEN: [AtomicBool; 1 << 14] = [const { AtomicBool::new(false) }; 1 << 14];
    if let (Some(list), Some(seen)) = (&*LIST, SEEN.get(number as usize))
        && !seen.swap(true, Ordering::Relaxed)
        && let Ok(mut list) = list.lock()
    {
        let _ = writeln!(list, "{number}");
    }
    *PLANTED == number
}
"#;

/// A program that contains the faults.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) mutants: Vec<Mutant>,
}

/// A fault.
#[derive(Clone, Serialize)]
pub(super) struct Mutant {
    /// The number, from 1.
    pub(super) number: u32,
    file: String,
    line: usize,
    fault: String,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            file,
            line,
            fault,
        } = self;
        write!(f, "{number} {file}:{line} {fault}")
    }
}

/// The faults in each written file.
type Planted = BTreeMap<String, Vec<Placed>>;

/// A file with places for faults.
struct File {
    path: String,
    source: String,
    sites: Vec<Site>,
}

/// Copies the workspace, plants the faults, and builds. A fault that does not compile is left out.
///
/// # Errors
///
/// Fails if the copy cannot be written or built.
pub(super) fn build(
    console: &Console,
    workspace: &Workspace,
    folder: &Path,
) -> anyhow::Result<Program> {
    let tree = folder.join("tree");
    let mut files = copy(console, &workspace.root, &tree)?;
    for _ in 0..BUILDS_MAX {
        let (mutants, placed) = plant(&files, &tree)?;
        console.say(format!("{} faults in {} files", mutants.len(), files.len()));
        let errors = compile(&tree, &folder.join("build"))?;
        if errors.is_empty() {
            let path = folder.join("build/release/shop");
            return Ok(Program { path, mutants });
        }
        for (path, at) in errors {
            let file = files.iter_mut().find(|file| file.path == path);
            let file = file.with_context(|| format!("{path} does not compile"))?;
            // The compiler may report what a fault causes elsewhere.
            let sites = placed[&path]
                .iter()
                .filter(|it| !file.sites[it.site].fault.is_empty());
            let nearest = sites.min_by_key(|it| (distance(&it.bytes, at), it.bytes.len()));
            let site = nearest.with_context(|| format!("{path} does not compile at byte {at}"))?;
            // Its place in the list stays, so that the other errors find theirs.
            file.sites[site.site].fault.clear();
        }
        for file in &mut files {
            let is_kept =
                |site: &Site| matches!(site.form, Form::NotConst) || !site.fault.is_empty();
            file.sites.retain(is_kept);
        }
    }
    bail!("the faults do not compile after {BUILDS_MAX} builds")
}

/// Copies all files of the repository, and returns those with places for faults.
fn copy(console: &Console, root: &Path, tree: &Path) -> anyhow::Result<Vec<File>> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = console.output(git.current_dir(root))?;
    let (mut sources, mut constants) = (BTreeMap::new(), BTreeSet::new());
    for path in listed.split_terminator('\0') {
        let Ok(content) = fs::read(root.join(path)) else {
            continue; // It was deleted.
        };
        match String::from_utf8(content) {
            Ok(text) if is_source(path) => {
                constants.append(&mut sites::named_by_constants(&text));
                sources.insert(path.to_owned(), text);
            }
            Ok(mut text) => {
                if path == "shop/contracts/src/lib.rs" {
                    text.push_str(CONDITION);
                }
                write(&tree.join(path), text.as_bytes())?;
            }
            Err(binary) => write(&tree.join(path), binary.as_bytes())?,
        }
    }
    ensure!(!sources.is_empty(), "the shop has no sources");
    let parse = |(path, source): (String, String)| {
        let sites = sites::find(&source, &constants).with_context(|| path.clone())?;
        Ok(File {
            path,
            source,
            sites,
        })
    };
    sources.into_iter().map(parse).collect()
}

/// The distance of a byte from a range; 0 within it.
fn distance(bytes: &Range<usize>, at: usize) -> usize {
    bytes.start.saturating_sub(at) + at.saturating_sub(bytes.end)
}

fn is_source(path: &str) -> bool {
    let is_of_service = path.starts_with("shop/services/") && path.contains("/src/");
    is_of_service && path.ends_with(".rs") && !LEFT_OUT.iter().any(|it| path.contains(it))
}

/// Writes all files with their faults. Numbers are given anew.
fn plant(files: &[File], tree: &Path) -> anyhow::Result<(Vec<Mutant>, Planted)> {
    let (mut mutants, mut all) = (Vec::new(), BTreeMap::new());
    for file in files {
        let numbers = file.sites.iter().map(|site| {
            if matches!(site.form, Form::NotConst) {
                return 0;
            }
            let number = mutants.len() as u32 + 1;
            mutants.push(Mutant {
                number,
                file: file.path.clone(),
                line: site.line,
                fault: site.fault.clone(),
            });
            number
        });
        let numbers: Vec<_> = numbers.collect();
        let (text, placed) = rewrite(&file.source, &file.sites, &numbers);
        write(&tree.join(&file.path), text.as_bytes())?;
        all.insert(file.path.clone(), placed);
    }
    Ok((mutants, all))
}

/// Writes a file, unless it is so already: cargo goes by the time of the last change.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// A line of cargo's output.
#[derive(Deserialize)]
struct Told {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    spans: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    file_name: String,
    byte_start: usize,
    is_primary: bool,
}

/// Builds the program. Returns the file and the byte of each error.
fn compile(tree: &Path, target: &Path) -> anyhow::Result<Vec<(String, usize)>> {
    let mut cargo = cargo(&["build", "--release", "--package", "shop", "--keep-going"]);
    cargo.args(["--message-format", "json"]).current_dir(tree);
    cargo.env("CARGO_TARGET_DIR", target).stdout(Stdio::piped());
    let output = cargo.spawn()?.wait_with_output()?;
    let mut errors = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let told: Told = serde_json::from_str(line)?;
        let Some(message) = told.message.filter(|it| it.level == "error") else {
            continue;
        };
        let places = message.spans.into_iter().filter(|it| it.is_primary);
        errors.extend(places.map(|it| (it.file_name, it.byte_start)));
    }
    let is_explained = output.status.success() || !errors.is_empty();
    ensure!(is_explained, "the copy cannot be built");
    Ok(errors)
}
