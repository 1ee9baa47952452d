//! The settings that a command line contains.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap_builder::ArgMatches;

use super::settings::{Field, OURS, Sources};

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub(super) fn sources(own: &[Field], args: &ArgMatches) -> Sources {
    let env: BTreeMap<_, _> = std::env::vars_os().collect();
    let keys = OURS.iter().chain(own).filter(|field| !field.secret);
    let given = keys.filter_map(|field| {
        // Commands have only the flags that concern them.
        let value = args.try_get_one::<String>(&field.key).ok().flatten()?;
        Some((field.key.clone(), value.clone()))
    });
    let config = env.get(std::ffi::OsStr::new("WINGBEAT_CONFIG"));
    let file = args.get_one::<PathBuf>("config").cloned();
    Sources {
        flags: given.collect(),
        file: file.or_else(|| config.map(PathBuf::from)),
        env,
    }
}
