//! Turns the template into the files of a new service.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::File;

/// The package that is the template.
pub(super) const FOLDER: &str = "xtask/templates/service";

/// The name of the template's service, in lower case.
const NAME: &str = "samples";

/// The module that the template has for itself and services have in `shop-contracts`.
const CONTRACTS: &str = "src/contracts.rs";

/// Returns the files of the package and of its contracts.
pub(super) fn render(template: &Path, name: &str) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths(template, "")? {
        let text = fs::read_to_string(template.join(&path)).with_context(|| path.clone())?;
        let text = adapted(&path, &text, name);
        let path = match path.as_str() {
            CONTRACTS => format!("shop/contracts/src/{name}.rs"),
            path => format!("shop/services/{name}/{path}"),
        };
        files.push(File { path, text });
    }
    Ok(files)
}

/// The files below a folder, relative to the template.
fn paths(template: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(template.join(folder)).context(FOLDER)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = Path::new(folder).join(name).to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            found.extend(paths(template, &path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn adapted(path: &str, text: &str, name: &str) -> String {
    let shared = format!("shop_contracts::{name}");
    let text = match path {
        CONTRACTS => text.replace("use shop_contracts::", "use crate::"),
        "src/lib.rs" => without_line(text, "pub mod contracts;"),
        _ => text.to_owned(),
    };
    text.replace("crate::contracts", &shared)
        .replace("shop_samples::contracts", &shared)
        .replace(NAME, name)
        .replace(&capitalized(NAME), &capitalized(name))
}

fn without_line(text: &str, line: &str) -> String {
    text.replacen(&format!("{line}\n"), "", 1)
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}
