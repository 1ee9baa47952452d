//! The dependencies that the architecture allows between packages, checked against the manifests.

use super::Finding;
use super::tree::Tree;
use crate::workspace::{Dependency, Package};

/// The members of the workspace that a package may depend on.
enum May {
    Nothing,
    /// The crates of the framework, but none of the shop.
    Framework,
    Anything,
    Only(Arrows),
}

/// The members that a package may depend on, by the kind of the dependency.
struct Arrows {
    always: &'static [&'static str],
    /// Only behind a feature.
    optional: &'static [&'static str],
    /// Only for tests and examples.
    dev: &'static [&'static str],
}

const ADAPTER: Arrows = Arrows {
    always: &["wingbeat-connect", "wingbeat-core"],
    optional: &[],
    // Tests of the transport run handlers on the stores that it is used with.
    dev: &[
        "wingbeat",
        "wingbeat-embedded",
        "wingbeat-postgres",
        "wingbeat-servers",
    ],
};

const CONNECT: Arrows = Arrows {
    always: &["wingbeat-core"],
    optional: &[],
    dev: &["wingbeat-servers"],
};

const MACROS: Arrows = Arrows {
    always: &[],
    optional: &[],
    dev: &["wingbeat", "wingbeat-core"],
};

const WINGBEAT: Arrows = Arrows {
    always: &["wingbeat-core", "wingbeat-macros"],
    optional: &[
        "wingbeat-connect",
        "wingbeat-embedded",
        "wingbeat-postgres",
        "wingbeat-rabbitmq",
        "wingbeat-redis",
    ],
    dev: &["wingbeat-embedded", "wingbeat-servers"],
};

const AROUND: Arrows = Arrows {
    always: &["wingbeat", "wingbeat-core", "wingbeat-embedded"],
    optional: &[],
    dev: &[],
};

const CONTRACTS: Arrows = Arrows {
    always: &["wingbeat"],
    optional: &[],
    dev: &[],
};

const SERVICE: Arrows = Arrows {
    always: &["wingbeat", "shop-contracts", "shop-registry"],
    // For negative controls, behind the feature `sabotage`.
    optional: &["wingbeat-core"],
    dev: &["wingbeat-servers"],
};

/// The client knows the shop by its HTTP API only.
const CLIENT: Arrows = Arrows {
    always: &["wingbeat-connect"],
    optional: &[],
    dev: &[],
};

/// Crates that a service would need for SQL, which only adapters contain.
const SQL: &[&str] = &[
    "deadpool-postgres",
    "diesel",
    "libsqlite3-sys",
    "postgres",
    "rusqlite",
    "sea-orm",
    "sqlx",
    "tokio-postgres",
];

/// Refuses dependencies against the architecture, and SQL in services.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages
        .iter()
        .flat_map(|package| refused(tree, package))
        .collect()
}

fn refused(tree: &Tree, package: &Package) -> Vec<Finding> {
    let finding = |problem: String| Finding::new(format!("package {}", package.name), problem);
    let Some(may) = may(package) else {
        let problem = "is not in the table of directions: add it and its dependencies to \
                       xtask/src/tidy/direction.rs";
        return vec![finding(problem.to_owned())];
    };
    let is_service = package.folder.starts_with("shop/services/");
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let target = tree
            .packages
            .iter()
            .find(|other| other.name == dependency.name);
        let against = target.and_then(|target| may.problem(dependency, target));
        findings.extend(against.map(&finding));
        if is_service && SQL.contains(&dependency.name.as_str()) {
            let name = &dependency.name;
            findings.push(finding(format!(
                "services contain no SQL, but it depends on {name}"
            )));
        }
    }
    findings
}

/// The dependencies that a package may have, by its folder.
fn may(package: &Package) -> Option<May> {
    let (top, rest) = package
        .folder
        .split_once('/')
        .unwrap_or((&package.folder, ""));
    let area = rest.split('/').next().unwrap_or_default();
    Some(match (top, area) {
        ("crates", "wingbeat-core" | "wingbeat-servers") => May::Nothing,
        ("crates", "wingbeat-connect") => May::Only(CONNECT),
        ("crates", "wingbeat-macros") => May::Only(MACROS),
        ("crates", "wingbeat") => May::Only(WINGBEAT),
        (
            "crates",
            "wingbeat-embedded" | "wingbeat-postgres" | "wingbeat-rabbitmq" | "wingbeat-redis",
        ) => May::Only(ADAPTER),
        ("crates", "wingbeat-cli") => May::Only(AROUND),
        ("shop", "contracts") => May::Only(CONTRACTS),
        ("shop", "services") | ("xtask", "templates") => May::Only(SERVICE),
        ("shop", "client") => May::Only(CLIENT),
        ("shop", "provider" | "registry") | ("xtask", _) => May::Nothing,
        ("shop", "app" | "e2e") | ("benches", _) => May::Anything,
        ("examples", _) => May::Framework,
        _ => return None,
    })
}

impl May {
    /// The problem with a dependency, if there is one.
    fn problem(&self, dependency: &Dependency, target: &Package) -> Option<String> {
        let name = &target.name;
        let allowed = match self {
            Self::Anything => true,
            Self::Nothing => false,
            Self::Framework => target.folder.starts_with("crates/"),
            Self::Only(arrows) => arrows.allow(dependency),
        };
        let behind_feature = matches!(self, Self::Only(arrows) if arrows.is_optional(dependency));
        match (allowed, behind_feature) {
            (true, _) => None,
            (false, true) => Some(format!(
                "may depend on {name} only as an optional dependency"
            )),
            (false, false) => Some(format!("must not depend on {name}")),
        }
    }
}

impl Arrows {
    fn allow(&self, dependency: &Dependency) -> bool {
        let name = dependency.name.as_str();
        self.always.contains(&name)
            || (dependency.is_dev() && self.dev.contains(&name))
            || (dependency.optional && self.optional.contains(&name))
    }

    fn is_optional(&self, dependency: &Dependency) -> bool {
        self.optional.contains(&dependency.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, name: &str) -> Package {
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Package {
            name,
            folder,
            ..Package::default()
        }
    }

    fn needs(name: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            ..Dependency::default()
        }
    }

    /// The findings for a package in this folder with this dependency.
    fn with(folder: &str, dependency: Dependency) -> Vec<Finding> {
        let members = [
            ("crates/wingbeat-core", "wingbeat-core"),
            ("crates/wingbeat", "wingbeat"),
            ("crates/wingbeat-embedded", "wingbeat-embedded"),
            ("crates/wingbeat-servers", "wingbeat-servers"),
            ("shop/contracts", "shop-contracts"),
            ("shop/provider", "shop-provider"),
            ("shop/services/orders", "shop-orders"),
        ];
        let members = members.map(|(folder, name)| package(folder, name));
        let dependent = Package {
            dependencies: vec![dependency],
            ..package(folder, "the-dependent")
        };
        let packages = members.into_iter().chain([dependent]).collect();
        check(&Tree {
            packages,
            ..Tree::default()
        })
    }

    #[test]
    fn a_dependency_against_the_architecture_is_refused() {
        let arrows = [
            ("crates/wingbeat-core", "wingbeat"),
            ("crates/wingbeat-embedded", "wingbeat"),
            ("crates/wingbeat-redis", "wingbeat-embedded"),
            ("crates/wingbeat", "wingbeat-servers"),
            ("crates/wingbeat", "shop-contracts"),
            ("crates/wingbeat-cli", "shop-orders"),
            ("shop/contracts", "wingbeat-core"),
            ("shop/contracts", "shop-orders"),
            ("shop/services/carts", "shop-orders"),
            ("shop/services/payments", "shop-provider"),
            ("shop/services/carts", "wingbeat-embedded"),
            ("shop/services/carts", "wingbeat-servers"),
            ("shop/provider", "wingbeat"),
            ("shop/provider", "shop-orders"),
            ("examples/01-hello", "shop-orders"),
            ("xtask", "wingbeat-core"),
            ("xtask/templates/service", "shop-orders"),
        ];
        for (folder, name) in arrows {
            let findings = with(folder, needs(name));
            assert_eq!(findings.len(), 1, "{folder} to {name}: {findings:?}");
        }
    }

    #[test]
    fn an_adapter_of_wingbeat_must_be_behind_a_feature() {
        let adapter = needs("wingbeat-embedded");
        let findings = with("crates/wingbeat", adapter.clone());
        assert!(
            findings[0].problem.contains("only as an optional"),
            "{findings:?}"
        );
        assert_eq!(
            with(
                "crates/wingbeat",
                Dependency {
                    optional: true,
                    ..adapter
                }
            ),
            []
        );
    }

    #[test]
    fn sql_is_refused_in_services_only() {
        for name in SQL {
            assert_eq!(with("shop/services/carts", needs(name)).len(), 1, "{name}");
            assert_eq!(with("shop/provider", needs(name)), []);
        }
    }

    #[test]
    fn a_package_outside_the_table_is_refused() {
        let findings = with("crates/wingbeat-new", needs("serde"));
        assert!(
            findings[0].problem.contains("table of directions"),
            "{findings:?}"
        );
    }

    #[test]
    fn tests_of_a_service_may_start_servers() {
        let kind = Some("dev".to_owned());
        let servers = Dependency {
            kind,
            ..needs("wingbeat-servers")
        };
        assert_eq!(with("shop/services/carts", servers), []);
        assert_eq!(with("shop/services/carts", needs("shop-contracts")), []);
    }
}
