//! `cargo xtask new-service <name>`: adds a service to the shop.
//!
//! The template is `xtask/templates/service`, a package of the workspace that compiles and has
//! tests, so it follows every change of the framework. [`template`] turns it into the new package;
//! [`listing`] adds the name to every list of services.

mod listing;
mod template;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::process::{Console, cargo};
use crate::workspace::Workspace;
use listing::{LISTINGS, REGISTRY};

/// A file to be written, with its path below the root of the workspace.
#[derive(Debug, PartialEq, Eq)]
struct File {
    path: String,
    text: String,
}

/// Writes the new service and adds it to every list.
///
/// # Errors
///
/// Fails if the name is invalid or taken, or if a list cannot be found. Nothing is written then.
pub(crate) fn new_service(
    console: &Console,
    workspace: &Workspace,
    name: &str,
) -> anyhow::Result<()> {
    let files = plan(&workspace.root, name)?;
    for File { path, text } in &files {
        let full = workspace.root.join(path);
        if let Some(folder) = full.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&full, text).with_context(|| path.clone())?;
        console.say(path);
    }
    console.run(&cargo(&["fmt", "--all"]))?;
    console.say(format!(
        "\nThe service compiles and has tests: cargo test -p shop-{name}\n\
         It rates orders: replace that by what it is to do, as docs/adding-a-service.md describes."
    ));
    Ok(())
}

/// Returns every new and every changed file.
fn plan(root: &Path, name: &str) -> anyhow::Result<Vec<File>> {
    ensure!(
        is_valid(name),
        "a service has a name of lower-case letters, such as `ratings`, not {name:?}"
    );
    let package = format!("shop/services/{name}");
    ensure!(!root.join(&package).exists(), "{package} exists already");
    let known = known(root)?;
    let mut files = template::render(&root.join(template::FOLDER), name)?;
    for listing in LISTINGS {
        let path = listing.path.to_owned();
        let changed = files.iter().position(|file| file.path == path);
        let text = match changed {
            Some(at) => files.remove(at).text,
            None => fs::read_to_string(root.join(&path)).with_context(|| path.clone())?,
        };
        let text = listing
            .add(&text, name, &known)
            .with_context(|| path.clone())?;
        files.push(File { path, text });
    }
    count_one_more(&mut files, known.len());
    Ok(files)
}

/// Returns the names in the registry.
fn known(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join(REGISTRY)).context(REGISTRY)?;
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("        name: \"")?;
        name.strip_suffix("\",")
    });
    Ok(names.map(str::to_owned).collect())
}

/// Adjusts the length of the registry's array.
fn count_one_more(files: &mut [File], known: usize) {
    let length = |count: usize| format!("[Service; {count}]");
    for file in files.iter_mut().filter(|file| file.path == REGISTRY) {
        file.text = file.text.replace(&length(known), &length(known + 1));
    }
}

/// The name begins queues, message types, SQL schemas and environment variables.
fn is_valid(name: &str) -> bool {
    (2..=30).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        own.parent().expect("xtask is in the workspace")
    }

    fn planned(name: &str) -> Vec<File> {
        plan(root(), name).unwrap()
    }

    fn text_of(files: &[File], path: &str) -> String {
        let found = files.iter().find(|file| file.path == path);
        found.unwrap_or_else(|| panic!("{path}")).text.clone()
    }

    #[test]
    fn every_new_and_changed_rust_file_parses_and_keeps_no_name_of_the_template() {
        for File { path, text } in planned("wishlists") {
            if path.ends_with(".rs") {
                syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            assert!(!text.to_lowercase().contains("samples"), "{path}");
        }
    }

    #[test]
    fn the_contracts_of_a_new_service_are_in_the_crate_that_services_share() {
        let files = planned("wishlists");
        let contracts = text_of(&files, "shop/contracts/src/wishlists.rs");
        assert!(
            contracts.contains("use crate::{OrderId, UserId};"),
            "{contracts}"
        );
        assert!(
            contracts.contains("name = \"wishlists.rate_order\""),
            "{contracts}"
        );
        let handlers = text_of(&files, "shop/services/wishlists/src/handlers.rs");
        let import = "use shop_contracts::wishlists::{OrderRated, RateOrder};";
        assert!(handlers.contains(import), "{handlers}");
        let lib = text_of(&files, "shop/services/wishlists/src/lib.rs");
        assert!(!lib.contains("mod contracts"), "{lib}");
    }

    #[test]
    fn a_service_can_come_first_or_last_in_every_list() {
        for name in ["aaa", "zzz"] {
            let changed = planned(name).into_iter();
            let changed: Vec<File> = changed
                .filter(|it| root().join(&it.path).exists())
                .collect();
            let expected: std::collections::BTreeSet<&str> =
                LISTINGS.iter().map(|listing| listing.path).collect();
            assert_eq!(changed.len(), expected.len(), "{name}");
        }
    }

    #[test]
    fn invalid_and_taken_names_are_refused() {
        for name in ["", "x", "Ratings", "flash-sales", "flash_sales", "1st"] {
            let error = plan(root(), name).unwrap_err().to_string();
            assert!(error.contains("lower-case letters"), "{name}: {error}");
        }
        let error = plan(root(), "shipping").unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
    }
}
