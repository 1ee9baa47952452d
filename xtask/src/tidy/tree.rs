//! The input of the rules: the packages and every text file of the repository.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::process::Command;

use anyhow::{Context, ensure};
use proc_macro2::TokenStream;

use super::code;
use super::ratchet::Ratchet;
use crate::workspace::{Package, Workspace};

/// The workspace, read once.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) packages: Vec<Package>,
    pub(super) files: Vec<SourceFile>,
    /// The number of packages that each example compiles. Cargo counts them, not `read`.
    pub(super) compiled: BTreeMap<String, usize>,
    pub(super) ratchet: Ratchet,
}

/// A text file of the repository.
pub(super) struct SourceFile {
    /// Relative to the root, with `/` as separator.
    pub(super) path: String,
    pub(super) text: String,
    tokens: OnceCell<Option<TokenStream>>,
    syntax: OnceCell<Option<syn::File>>,
    test_lines: OnceCell<Vec<RangeInclusive<usize>>>,
}

impl Tree {
    pub(super) fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in listed_by_git(workspace)? {
            // Git lists files whose removal is not committed. Binaries are no text.
            if let Ok(text) = fs::read_to_string(workspace.root.join(&path)) {
                files.push(SourceFile::new(path, text));
            }
        }
        let packages = workspace.packages.clone();
        Ok(Self {
            packages,
            files,
            compiled: BTreeMap::new(),
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
            syntax: OnceCell::new(),
            test_lines: OnceCell::new(),
        }
    }

    /// The code as tokens, or nothing if it is no Rust.
    pub(super) fn tokens(&self) -> Option<TokenStream> {
        self.tokens.get_or_init(|| self.text.parse().ok()).clone()
    }

    /// The code as a syntax tree, or nothing if it is no Rust.
    pub(super) fn syntax(&self) -> Option<&syn::File> {
        let parse = || syn::parse2(self.tokens()?).ok();
        self.syntax.get_or_init(parse).as_ref()
    }

    /// Returns whether a line is in an item marked `#[cfg(test)]`.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        let find = || code::test_lines(self.tokens().unwrap_or_default());
        let lines = self.test_lines.get_or_init(find);
        lines.iter().any(|lines| lines.contains(&line))
    }

    /// Returns whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| {
            matches!(
                part,
                "tests" | "tests.rs" | "conformance" | "conformance.rs"
            )
        })
    }

    /// Returns whether the file is Rust, but no fixture that must not compile.
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.contains("/tests/ui/")
    }
}

/// Lists tracked files, and new ones that are not ignored: rules apply before the commit.
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
