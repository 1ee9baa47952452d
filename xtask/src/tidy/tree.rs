//! What the rules look at: the packages and every text file that belongs to the repository.

use std::cell::OnceCell;
use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};
use proc_macro2::TokenStream;

use super::ratchet::Ratchet;
use crate::workspace::{Package, Workspace};

/// The workspace, read once.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) packages: Vec<Package>,
    pub(super) files: Vec<SourceFile>,
    pub(super) ratchet: Ratchet,
}

/// A text file of the repository.
pub(super) struct SourceFile {
    /// Relative to the root, with `/` as separator.
    pub(super) path: String,
    pub(super) text: String,
    tokens: OnceCell<Option<TokenStream>>,
}

impl Tree {
    pub(super) fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in listed_by_git(workspace)? {
            // A file that was removed but not committed is listed and not there; a binary is not text.
            if let Ok(text) = fs::read_to_string(workspace.root.join(&path)) {
                files.push(SourceFile::new(path, text));
            }
        }
        let packages = workspace.packages.clone();
        Ok(Self {
            packages,
            files,
            ratchet: Ratchet::read(&workspace.root)?,
        })
    }

    /// The file at that path.
    pub(super) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files that are compiled as they stand.
    pub(super) fn rust_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

impl SourceFile {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            tokens: OnceCell::new(),
        }
    }

    /// The code as tokens, or nothing where it is none.
    pub(super) fn tokens(&self) -> Option<TokenStream> {
        self.tokens.get_or_init(|| self.text.parse().ok()).clone()
    }

    /// Is the whole file test code?
    pub(super) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| {
            matches!(
                part,
                "tests" | "tests.rs" | "conformance" | "conformance.rs"
            )
        })
    }

    /// Rust, but neither a template with holes nor a fixture that is meant not to compile.
    fn is_rust(&self) -> bool {
        let apart = self.path.contains("/tests/ui/") || self.path.contains("/templates/");
        self.path.ends_with(".rs") && !apart
    }
}

/// Tracked files, and new ones that are not ignored, so that a rule speaks up before the commit.
fn listed_by_git(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let args = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ];
    let output = Command::new("git")
        .args(args)
        .current_dir(&workspace.root)
        .output()
        .context("git does not start; tidy asks it for the files of the repository")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git ls-files: {stderr}");
    let paths = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
    Ok(paths.split_terminator('\0').map(str::to_owned).collect())
}
