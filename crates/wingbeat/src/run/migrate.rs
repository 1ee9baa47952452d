//! `<program> migrate`: creates and migrates the schemas with a role that may do that, and grants
//! privileges to the roles of the services.

use super::error::RunError;
use super::logs;
#[cfg(feature = "servers")]
use super::output::say;
use super::program::Program;
use super::settings::{MigrateSettings, Settings, Sources};

/// Migrates the schemas of all services, whichever processes run them.
pub(super) async fn run<P: Program>(program: &P, sources: &Sources) -> Result<(), RunError> {
    let read = MigrateSettings::read_all::<P::Own>(sources);
    let (settings, migrate) = match read {
        Ok(read) => read,
        Err(faults) => {
            RunError::all(faults.into_iter().map(RunError::from).collect())?;
            return Ok(());
        }
    };
    let logs = logs::start(&settings, program.name())?;
    let done = migrate_all(program, &settings, migrate).await;
    logs.close().await;
    done
}

#[cfg(feature = "servers")]
async fn migrate_all<P: Program>(
    program: &P,
    settings: &Settings<P::Own>,
    migrate: MigrateSettings,
) -> Result<(), RunError> {
    let mut config = wingbeat_postgres::Config::new(migrate.store);
    config.tls = settings.tls.clone();
    let grants = wingbeat_postgres::Grants {
        write: migrate.grant_to,
        read: migrate.grant_read_to,
    };
    let names = program.services(settings);
    let services: Vec<_> = names.iter().map(|name| crate::Name::intern(name)).collect();
    let runtime = crate::TokioRuntime::new();
    wingbeat_postgres::Postgres::migrate(&config, runtime, &services, &grants).await?;
    let name = program.name();
    say(format_args!(
        "{name}: migrated the schemas of {}",
        names.join(", ")
    ));
    Ok(())
}

#[cfg(not(feature = "servers"))]
async fn migrate_all<P: Program>(
    _: &P,
    _: &Settings<P::Own>,
    _: MigrateSettings,
) -> Result<(), RunError> {
    let text = "built without the feature `servers`: the embedded store migrates itself";
    Err(crate::Error::reject("not_built", text).into())
}
