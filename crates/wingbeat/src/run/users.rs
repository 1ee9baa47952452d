//! The users of a system's processes on RabbitMQ, PostgreSQL and Redis, with no more privileges
//! than each process needs.

use wingbeat_rabbitmq::User;

use crate::App;
use crate::describe::System;

/// Returns the users of the services of an app for RabbitMQ, in the order of the app. Their
/// privileges follow from the wiring: a service that sends no commands may not write to their
/// exchange. Pass the users to [`broker_definitions`](super::broker_definitions).
///
/// `password_hash` returns the hash of a user's password, or a mark that a later step replaces.
///
/// ```
/// use wingbeat::run::{BrokerConfig, broker_definitions, broker_users};
/// use wingbeat::{App, Service};
///
/// let app = App::new().service(Service::new("orders")).service(Service::new("payments"));
/// let users = broker_users(&app, |name| format!("@{name}@"));
/// let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
/// assert_eq!(names, ["orders", "payments"]);
/// let definitions = broker_definitions(&BrokerConfig::new(""), &app.topology(), &users);
/// assert_eq!(definitions["users"][0]["password_hash"], "@orders@");
/// ```
#[must_use]
pub fn broker_users(app: &App, password_hash: impl Fn(&str) -> String) -> Vec<User> {
    let system = System::from(app);
    let services = system.services().iter();
    let users = services.map(|service| User {
        name: service.name.as_str().to_owned(),
        password_hash: password_hash(service.name.as_str()),
        is_service: true,
        sends_commands: service.commands().next().is_some(),
        asks: !service.asks.is_empty(),
        answers: !service.answers.is_empty(),
    });
    users.collect()
}

/// Returns the statements that create the roles of PostgreSQL, for `psql` as a superuser: an owner,
/// who may create schemas, and a role for each of the `names`, which may only connect. `migrate`
/// with `--grant-to` then grants them the tables of their own schemas.
///
/// The passwords are files `store_password_<role>` in the directory that `psql` gets as the
/// variable `secrets`.
///
/// ```
/// let sql = wingbeat::run::store_roles("migrate", ["orders", "payments"]);
/// assert!(sql.contains("GRANT CONNECT, CREATE ON DATABASE :\"DBNAME\" TO \"migrate\";"));
/// assert!(sql.contains("GRANT CONNECT ON DATABASE :\"DBNAME\" TO \"orders\";"));
/// ```
#[must_use]
pub fn store_roles<'a>(owner: &'a str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut sql = String::from(
        "\\set ON_ERROR_STOP on\n\
         REVOKE ALL ON DATABASE :\"DBNAME\" FROM PUBLIC;\n\
         REVOKE ALL ON SCHEMA public FROM PUBLIC;\n",
    );
    for name in std::iter::once(owner).chain(names) {
        sql += &format!(
            "\\set password `cat :secrets/store_password_{name}`\n\
             CREATE ROLE \"{name}\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT \
             PASSWORD :'password';\n"
        );
        let rights = if name == owner {
            "CONNECT, CREATE"
        } else {
            "CONNECT"
        };
        sql += &format!("GRANT {rights} ON DATABASE :\"DBNAME\" TO \"{name}\";\n");
    }
    sql
}

/// The commands of the cache: those of single keys, and scripts, whose commands Redis checks too.
const COMMANDS: &str = "-@all +get +set +unlink +incr +pttl +pexpire +zadd +zrem +zrange \
                        +zremrangebyscore +eval +evalsha +ping +hello";

/// The commands of allotments.
const OF_ALLOTMENTS: &str = "+hdel +hget +hincrby +hmget +hset +llen +lrange +ltrim +rpush";

/// A user of Redis. Every user may read and prolong sessions.
#[derive(Clone, Debug)]
pub struct CacheUser<'a> {
    /// The name of the user.
    pub name: &'a str,
    /// The SHA-256 of the password in hexadecimal digits, or a mark that a later step replaces.
    pub password_hash: String,
    /// The families of keys that the process has for itself: the text before the first colon.
    pub families: &'a [&'a str],
    /// Set if the process uses [`Allotments`](crate::cache::Allotments).
    pub allotments: bool,
    /// Set if the process may end all sessions of a user.
    pub ends_sessions: bool,
}

/// Returns the users of Redis as the lines of an ACL file. The default user is switched off.
///
/// ```
/// use wingbeat::run::{CacheUser, cache_users};
///
/// let catalog = CacheUser {
///     name: "catalog",
///     password_hash: "@catalog@".into(),
///     families: &["products"],
///     allotments: false,
///     ends_sessions: false,
/// };
/// let acl = cache_users(&[catalog]);
/// assert!(acl.contains("user catalog on #@catalog@ resetchannels "));
/// assert!(acl.contains(" ~products:* ~index:products "));
/// ```
#[must_use]
pub fn cache_users(users: &[CacheUser<'_>]) -> String {
    let mut acl = String::from("user default off\n");
    for user in users {
        let ended = if user.ends_sessions { "~" } else { "%R~" };
        let mut keys = format!("~session:* ~index:session {ended}sessions-ended:*");
        if user.ends_sessions {
            keys += " ~index:sessions-ended";
        }
        for family in user.families {
            keys += &format!(" ~{family}:* ~index:{family}");
        }
        let commands = if user.allotments {
            format!("{COMMANDS} {OF_ALLOTMENTS}")
        } else {
            COMMANDS.to_owned()
        };
        let (name, hash) = (user.name, &user.password_hash);
        acl += &format!("user {name} on #{hash} resetchannels {keys} {commands}\n");
    }
    acl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_the_schemas_may_create() {
        let sql = store_roles("migrate", ["orders", "gateway"]);
        let may_create: Vec<&str> = sql.lines().filter(|it| it.contains("CREATE ON")).collect();
        assert_eq!(
            may_create,
            ["GRANT CONNECT, CREATE ON DATABASE :\"DBNAME\" TO \"migrate\";"]
        );
        assert_eq!(sql.matches("CREATE ROLE").count(), 3);
    }

    #[test]
    fn a_user_of_the_cache_has_the_keys_and_commands_of_its_process_only() {
        let user = |name, families| CacheUser {
            name,
            password_hash: String::new(),
            families,
            allotments: name == "sales",
            ends_sessions: name == "identity",
        };
        let acl = cache_users(&[
            user("identity", &["failures"]),
            user("sales", &["sale", "claims"]),
            user("orders", &[]),
        ]);
        let lines: Vec<&str> = acl.lines().collect();
        assert_eq!(lines[0], "user default off");
        let has = |line: usize, part: &str| lines[line].contains(part);
        assert!(has(
            1,
            " ~sessions-ended:* ~index:sessions-ended ~failures:* ~index:failures "
        ));
        assert!(has(
            2,
            " %R~sessions-ended:* ~sale:* ~index:sale ~claims:* ~index:claims "
        ));
        assert!(has(3, " %R~sessions-ended:* -@all "));
        assert_eq!(
            (has(1, "+hdel"), has(2, "+hdel"), has(3, "+hdel")),
            (false, true, false)
        );
    }
}
