//! Privileges of roles on the schemas, for services whose role may not create anything.

use deadpool_postgres::Object;
use wingbeat_core::{Name, Result};

use crate::fault::unavailable;

/// The tables that services write.
const WRITTEN: [&str; 8] = [
    "record",
    "history",
    "view_row",
    "view_index",
    "inbox",
    "outbox",
    "journal",
    "counter",
];
/// The part of a role's name that stands for the name of the service.
const SERVICE: &str = "{service}";

/// Roles that get privileges on the schemas of services, apart from the role that owns them.
///
/// A name may contain `{service}`, for a role per service: `shop_{service}` is `shop_orders` for
/// the service `orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Roles of services: they read and write the tables and commit.
    pub write: Vec<String>,
    /// Roles that only read, such as that of an audit.
    pub read: Vec<String>,
}

impl Grants {
    /// Returns the names of the roles that write for this service, quoted.
    pub(crate) fn writers(&self, service: Name) -> impl Iterator<Item = String> {
        let named = move |role: &String| quoted(&role.replace(SERVICE, service.as_str()));
        self.write.iter().map(named)
    }

    /// Returns the statements that grant the privileges on the schema of a service.
    pub(crate) fn statements(&self, service: Name, schema: &str, function: &str) -> Vec<String> {
        let named = |role: &String| quoted(&role.replace(SERVICE, service.as_str()));
        let tables = WRITTEN.map(|table| format!("{schema}.{table}")).join(", ");
        let write = self.writers(service).map(|role| {
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role};
                 GRANT SELECT ON {schema}.layout TO {role};
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};
                 GRANT EXECUTE ON FUNCTION {schema}.{function} TO {role}"
            )
        });
        let read = self.read.iter().map(named).map(|role| {
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role};
                 GRANT SELECT ON {schema}.layout, {tables} TO {role}"
            )
        });
        write.chain(read).collect()
    }
}

/// The privileges of the connected role on a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    None,
    Read,
    Write,
}

/// Returns the privileges of the connected role on the tables of a schema.
pub(crate) async fn access(connection: &Object, schema: &str) -> Result<Access> {
    let sql = "SELECT bool_and(has_table_privilege(c.oid, 'SELECT')),
            bool_and(has_table_privilege(c.oid, 'INSERT')
                AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = ANY($2)";
    let row = connection.query_one(sql, &[&schema, &&WRITTEN[..]]).await;
    let row = row.map_err(|e| unavailable(&e))?;
    let may = |at: usize| row.get::<_, Option<bool>>(at) == Some(true);
    Ok(match (may(0), may(1)) {
        (true, true) => Access::Write,
        (true, false) => Access::Read,
        (false, _) => Access::None,
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_per_service_is_named_by_its_service() {
        let grants = Grants {
            write: vec!["shop_{service}".into()],
            read: vec!["an \"audit\"".into()],
        };
        let statements = grants.statements(Name::new("orders"), "\"orders\"", "f");
        assert!(statements[0].contains("TO \"shop_orders\""));
        assert!(statements[1].contains("TO \"an \"\"audit\"\"\""));
        assert!(!statements[1].contains("INSERT"));
    }
}
