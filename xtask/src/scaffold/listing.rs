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
        /// The text before and after the name, from the beginning of the line that contains it.
        around: (&'static str, &'static str),
        /// The lines of an entry before that one.
        lead: usize,
        end: End,
    },
    /// One line, from this text to `]`.
    Inline(&'static str),
}

/// The last line of an entry.
#[derive(Clone, Copy)]
enum End {
    /// The line in which all brackets are closed.
    Balanced,
    /// A line that begins so; nothing for an empty line.
    Line(&'static str),
}

const fn lines(
    path: &'static str,
    around: (&'static str, &'static str),
    end: End,
    entry: &'static str,
) -> Listing {
    let lead = 0;
    let form = Form::Lines { around, lead, end };
    Listing { path, entry, form }
}

/// Every list of services.
pub(super) const LISTINGS: &[Listing] = &[
    lines(
        "Cargo.toml",
        ("shop-", " = { path = \"shop/services/"),
        End::Balanced,
        "shop-NAME = { path = \"shop/services/NAME\" }\n",
    ),
    Listing {
        path: REGISTRY,
        entry: "    Service {\n        name: \"NAME\",\n        paths: &[\"/api/v1/NAME\"],\n    },\n",
        form: Form::Lines {
            around: ("        name: \"", "\","),
            lead: 1,
            end: End::Balanced,
        },
    },
    lines(
        "shop/contracts/src/lib.rs",
        ("pub mod ", ";"),
        End::Balanced,
        "pub mod NAME;\n",
    ),
    lines(
        "shop/app/Cargo.toml",
        ("shop-", ".workspace = true"),
        End::Balanced,
        "shop-NAME.workspace = true\n",
    ),
    lines(
        "shop/app/src/compose/services.rs",
        ("        .service(shop_", "::service("),
        End::Balanced,
        "        .service(shop_NAME::service(&shop_NAME::Config::default()))\n",
    ),
    lines(
        "deploy/compose.yaml",
        ("  ", ":"),
        End::Line(""),
        "  NAME:\n    <<: *shop\n    \
         build: {context: .., dockerfile: deploy/Dockerfile, target: NAME}\n\n",
    ),
    lines(
        "deploy/compose.yaml",
        ("      ", ": {condition: service_healthy}"),
        End::Balanced,
        "      NAME: {condition: service_healthy}\n",
    ),
    lines(
        "deploy/Dockerfile",
        ("FROM runtime AS ", ""),
        End::Line("CMD"),
        "FROM runtime AS NAME\nCMD [\"NAME\"]\n",
    ),
    lines(
        "deploy/helm/values.yaml",
        ("  ", ": {}"),
        End::Balanced,
        "  NAME: {}\n",
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
        let (around, lead, end) = match &self.form {
            Form::Inline(begin) => return in_line(text, begin, name),
            Form::Lines { around, lead, end } => (*around, *lead, *end),
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
            (None, Some((at, _))) => end_of(&lines, at - lead, end),
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

/// The line after the entry that begins here.
fn end_of(lines: &[&str], begin: usize, end: End) -> usize {
    let mut open = 0;
    for (at, line) in lines.iter().enumerate().skip(begin) {
        open += line.matches(['(', '[', '{']).count();
        open -= line.matches([')', ']', '}']).count().min(open);
        let line = line.trim_end();
        let is_last = match end {
            End::Balanced => open == 0,
            End::Line("") => line.is_empty(),
            End::Line(last) => line.starts_with(last),
        };
        if is_last {
            return at + 1;
        }
    }
    lines.len()
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

    const MODULES: Listing = lines(
        "lib.rs",
        ("pub mod ", ";"),
        End::Balanced,
        "pub mod NAME;\n",
    );

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
        let listing = Listing {
            path: "a",
            entry: "{\n  name: NAME,\n}\n",
            form: Form::Lines {
                around: ("  name: ", ","),
                lead: 1,
                end: End::Balanced,
            },
        };
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
