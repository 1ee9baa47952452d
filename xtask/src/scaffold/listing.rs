//! The lists that name every service, and the form of their entries.

use anyhow::ensure;

/// The registry, from which code takes the names of all services.
pub(super) const REGISTRY: &str = "shop/registry/src/lib.rs";

/// A list of services in a file, sorted by name.
pub(super) struct Listing {
    pub(super) path: &'static str,
    /// A new entry, with `NAME` for the name.
    entry: &'static str,
    form: Form,
}

/// The form of a list.
enum Form {
    Lines {
        /// The text before and after the name in the line that contains it.
        around: (&'static str, &'static str),
        /// The lines of an entry before that one.
        lead: usize,
        /// The beginning of an entry's last line. Nothing for entries of one line.
        last: Option<&'static str>,
    },
    /// One line, from this text to `]`.
    Inline(&'static str),
}

const fn lines(
    path: &'static str,
    around: (&'static str, &'static str),
    entry: &'static str,
) -> Listing {
    let form = Form::Lines {
        around,
        lead: 0,
        last: None,
    };
    Listing { path, entry, form }
}

const fn blocks(
    path: &'static str,
    around: (&'static str, &'static str),
    lead: usize,
    last: &'static str,
    entry: &'static str,
) -> Listing {
    let form = Form::Lines {
        around,
        lead,
        last: Some(last),
    };
    Listing { path, entry, form }
}

/// Every list of services.
pub(super) const LISTINGS: &[Listing] = &[
    lines(
        "Cargo.toml",
        ("shop-", " = { path = \"shop/services/"),
        "shop-NAME = { path = \"shop/services/NAME\" }\n",
    ),
    blocks(
        REGISTRY,
        ("        name: \"", "\","),
        1,
        "    },",
        "    Service {\n        name: \"NAME\",\n        paths: &[\"/api/v1/NAME\"],\n    },\n",
    ),
    lines(
        "shop/contracts/src/lib.rs",
        ("pub mod ", ";"),
        "pub mod NAME;\n",
    ),
    lines(
        "shop/app/Cargo.toml",
        ("shop-", ".workspace = true"),
        "shop-NAME.workspace = true\n",
    ),
    blocks(
        "shop/app/src/shop.rs",
        ("        one(\"", "\","),
        0,
        "        }),",
        "        one(\"NAME\", move || {\n            \
         shop_NAME::service(&shop_NAME::Config::default())\n        }),\n",
    ),
    blocks(
        "deploy/compose.yaml",
        ("  ", ":"),
        0,
        "",
        "  NAME:\n    <<: *shop\n    \
         build: {context: .., dockerfile: deploy/Dockerfile, target: NAME}\n\n",
    ),
    lines(
        "deploy/compose.yaml",
        ("      ", ": {condition: service_healthy}"),
        "      NAME: {condition: service_healthy}\n",
    ),
    blocks(
        "deploy/Dockerfile",
        ("FROM runtime AS ", ""),
        0,
        "CMD",
        "FROM runtime AS NAME\nCMD [\"NAME\"]\n",
    ),
    Listing {
        path: "deploy/prometheus/prometheus.yaml",
        entry: "NAME",
        form: Form::Inline("names: ["),
    },
];

impl Listing {
    /// Returns the text of the file with an entry for the name.
    ///
    /// # Errors
    ///
    /// Fails if the list lacks a service that is known, or cannot be found.
    pub(super) fn add(&self, text: &str, name: &str, known: &[String]) -> anyhow::Result<String> {
        let entry = self.entry.replace("NAME", name);
        let (around, lead, last) = match &self.form {
            Form::Inline(begin) => return in_line(text, begin, name),
            Form::Lines { around, lead, last } => (*around, *lead, *last),
        };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let entries: Vec<(usize, &str)> = (0..)
            .zip(&lines)
            .filter_map(|(at, line)| Some((at, between(line, around)?)))
            .filter(|(_, name)| known.iter().any(|known| known == name))
            .collect();
        for known in known {
            let is_listed = entries.iter().any(|(_, name)| name == known);
            ensure!(is_listed, "the list of services lacks {known}");
        }
        let next = entries.iter().find(|(_, other)| *other > name);
        let at = match (next, entries.last()) {
            (Some((at, _)), _) => at - lead,
            (None, Some((at, _))) => end(&lines, *at, last),
            (None, None) => lines.len(),
        };
        let (before, after) = lines.split_at(at);
        Ok(before.concat() + &entry + &after.concat())
    }
}

/// The text between two others at the beginning of a line.
fn between<'a>(line: &'a str, (before, after): (&str, &str)) -> Option<&'a str> {
    let rest = line.trim_end().strip_prefix(before)?;
    if after.is_empty() {
        return Some(rest);
    }
    rest.split_once(after).map(|(name, _)| name)
}

/// The line after an entry whose name is in this line. An entry can also end in its first line.
fn end(lines: &[&str], at: usize, last: Option<&str>) -> usize {
    let Some(last) = last else { return at + 1 };
    let is_last = |line: &str| {
        let line = line.trim_end();
        line == last || !last.is_empty() && line.starts_with(last)
    };
    let rest = lines[at..].iter().position(|line| is_last(line));
    rest.map_or(at + 1, |rest| at + rest + 1)
}

fn in_line(text: &str, begin: &str, name: &str) -> anyhow::Result<String> {
    let parts = text.split_once(begin);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(']')?)));
    ensure!(parts.is_some(), "the line with {begin:?} is missing");
    let (before, (list, after)) = parts.unwrap_or_default();
    let mut names: Vec<&str> = list.split(", ").chain([name]).collect();
    names.sort_unstable();
    Ok(format!("{before}{begin}{}]{after}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn add(listing: &Listing, text: &str, name: &str) -> String {
        listing
            .add(text, name, &known(&["carts", "orders"]))
            .unwrap()
    }

    const MODULES: Listing = lines("lib.rs", ("pub mod ", ";"), "pub mod NAME;\n");

    #[test]
    fn an_entry_is_inserted_in_the_order_of_names() {
        let text = "//! Text.\n\npub mod carts;\npub mod orders;\n\nmod ids;\n";
        let expected = |new: &str, before: &str| text.replace(before, &format!("{new}{before}"));
        assert_eq!(
            add(&MODULES, text, "a"),
            expected("pub mod a;\n", "pub mod carts")
        );
        assert_eq!(
            add(&MODULES, text, "m"),
            expected("pub mod m;\n", "pub mod orders")
        );
        assert_eq!(
            add(&MODULES, text, "z"),
            expected("pub mod z;\n", "\nmod ids")
        );
    }

    #[test]
    fn an_entry_of_several_lines_stays_together() {
        let listing = blocks("a", ("  name: ", ","), 1, "}", "{\n  name: NAME,\n}\n");
        let text = "list\n{\n  name: carts,\n}\n{\n  name: orders,\n  more,\n}\nend\n";
        let new = |name| format!("{{\n  name: {name},\n}}\n");
        let before = "{\n  name: orders";
        let middle = text.replace(before, &format!("{}{before}", new("m")));
        assert_eq!(add(&listing, text, "m"), middle);
        assert_eq!(
            add(&listing, text, "z"),
            text.replace("end", &format!("{}end", new("z")))
        );
    }

    #[test]
    fn a_list_in_one_line_is_sorted() {
        let text = "names: [carts, gateway, orders]\nmore: [a]\n";
        let expected = "names: [carts, gateway, m, orders]\nmore: [a]\n";
        assert_eq!(in_line(text, "names: [", "m").unwrap(), expected);
        assert!(in_line("", "names: [", "m").is_err());
    }

    #[test]
    fn a_list_that_lacks_a_known_service_is_refused() {
        let error = MODULES.add("pub mod carts;\n", "m", &known(&["carts", "orders"]));
        assert!(error.unwrap_err().to_string().contains("orders"));
    }
}
