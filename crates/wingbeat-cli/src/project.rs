//! `wingbeat new`: a project that builds and passes its tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::New;
use crate::exit::{Exit, Failed};
use crate::output::say;

/// The files of a project and their paths. The sources are compiled and tested with this crate.
const FILES: [(&str, &str); 5] = [
    (
        "Cargo.toml",
        include_str!("../templates/project/Cargo.toml.in"),
    ),
    (
        "README.md",
        include_str!("../templates/project/README.md.in"),
    ),
    (".gitignore", "/target\n/data\n"),
    (
        "src/main.rs",
        include_str!("../templates/project/src/main.rs"),
    ),
    (
        "src/tests.rs",
        include_str!("../templates/project/src/tests.rs"),
    ),
];

/// Writes the project.
pub(crate) fn run(options: &New) -> Result<Exit, Failed> {
    let name = &options.name;
    check(name)?;
    let folder = options.directory.clone();
    let folder = folder.unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        return Err(Failed::local(format!(
            "{} exists already",
            folder.display()
        )));
    }
    let wingbeat = match &options.wingbeat {
        None => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
        Some(path) => at(path)?,
    };
    for (path, text) in FILES {
        let text = text
            .replace("{{name}}", name)
            .replace("{{wingbeat}}", &wingbeat);
        write(&folder.join(path), &text)?;
    }
    say(&format!(
        "{at} is a system of two services with a test. Next:\n\n    cd {at}\n    cargo test\n    \
         cargo run\n    wingbeat doctor\n",
        at = folder.display()
    ))?;
    Ok(Exit::Fine)
}

/// Checks that a name is one of a package, and none that Cargo refuses.
fn check(name: &str) -> Result<(), Failed> {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|it| it.is_ascii_lowercase());
    let rest =
        letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_".contains(it));
    let taken = ["test", "core", "std", "alloc", "wingbeat", "serde"].contains(&name);
    if first && rest && !taken {
        return Ok(());
    }
    Err(Failed::local(format!(
        "{name:?} cannot be the name of a project: use lower-case letters, digits, `-` and `_`"
    )))
}

/// Returns the place of a local crate `wingbeat`, as an entry of the manifest.
fn at(path: &Path) -> Result<String, Failed> {
    let unknown = |why| Failed::local(format!("{}: {why}", path.display()));
    let full = path.canonicalize().map_err(unknown)?;
    if !full.join("Cargo.toml").is_file() {
        let text = format!("{}: there is no Cargo.toml", path.display());
        return Err(Failed::local(text));
    }
    Ok(format!("path = {:?}", full.display().to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    let wrong = |why| Failed::local(format!("{} cannot be written: {why}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(wrong)?;
    }
    fs::write(path, text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cargo_refuses_is_refused_before_anything_is_written() {
        for name in ["", "Hotel", "1hotel", "my hotel", "test", "../hotel"] {
            assert_eq!(check(name).unwrap_err().exit, Exit::Usage, "{name}");
        }
        assert!(check("my-hotel_2").is_ok());
    }
}
