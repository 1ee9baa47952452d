//! PostgreSQL.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::instance::Instance;
use crate::place::Place;
use crate::port::free_port;
use crate::programs;

/// Whom the server runs as when we are root, which it refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Who may come: everybody as anybody, but for the role of this name, if a test makes it; it has to say its password.
const HOSTS: &str = "local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";

/// A private PostgreSQL. Durable as in production: `fsync` and `synchronous_commit` are on.
pub struct Postgres {
    port: u16,
    instance: Instance,
}

impl Postgres {
    /// Makes an empty cluster, starts it and waits until it answers.
    ///
    /// # Panics
    ///
    /// If `postgres` or `initdb` is missing, or it does not answer within 90 s; so does
    /// [`Self::start_again`].
    #[must_use]
    pub fn start() -> Self {
        let find = |program| programs::find(program, "postgresql");
        let (initdb, postgres, ready) = (find("initdb"), find("postgres"), find("pg_isready"));
        let (place, port) = (Place::new("postgres"), free_port());
        let owner = owner(place.path());
        let data = place.path().join("data");
        std::fs::create_dir(&data).expect("the temporary folder can be written");
        if let Some((user, group)) = owner {
            chown(&data, Some(user), Some(group)).expect("root may give a folder away");
        }
        let locale = [
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            "--username=postgres",
        ];
        let made = run_as(owner, &initdb)
            .args(locale)
            .arg("--no-sync")
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(
            made.is_ok_and(|made| made.success()),
            "initdb makes a cluster"
        );
        std::fs::write(data.join("pg_hba.conf"), HOSTS).expect("the cluster can be written");
        let command = move || {
            let mut command = run_as(owner, &postgres);
            command.arg("-D").arg(&data).arg("-k").arg(&data);
            command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            for setting in [
                "max_connections=400",
                "shared_buffers=128MB",
                "max_wal_size=2GB",
                "log_min_messages=warning",
            ] {
                command.args(["-c", setting]);
            }
            command
        };
        let answers = move || {
            Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-t", "1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|ready| ready.success())
        };
        let instance = Instance::start("postgres", place, command, answers);
        Self { port, instance }
    }

    /// `postgres://postgres@127.0.0.1:<port>/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes the role `guarded`, and tells its URL with this password, which is the right one or not.
    ///
    /// # Panics
    ///
    /// If SQL fails.
    #[must_use]
    pub fn guarded(&self, password: &str) -> String {
        self.sql(
            "DO $$ BEGIN CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right';
             EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        );
        format!(
            "postgres://guarded:{password}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Runs SQL through `psql`, and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in another database, such as one that SQL has created, and returns what `psql` prints.
    ///
    /// # Panics
    ///
    /// Panics if the SQL fails.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", self.port);
        let output = Command::new(programs::find("psql", "postgresql-client"))
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &url])
            .output()
            .expect("psql starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql fails: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Ends it at once and in order, as `pg_ctl stop -m immediate` does: without a checkpoint.
    pub fn stop(&self) {
        self.instance.end(Signal::QUIT);
    }

    /// Starts it again on the same port, with the same data; it recovers from its log.
    pub fn start_again(&self) {
        self.instance.start_again();
    }

    /// Ends all connections but our own.
    pub fn terminate_backends(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    }
}

/// User and group to run as when we are root.
fn owner(folder: &Path) -> Option<(u32, u32)> {
    let root = folder.metadata().is_ok_and(|about| about.uid() == 0);
    root.then(|| {
        USERS
            .iter()
            .find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
            .expect("there is a user who is not root")
    })
}

fn id(which: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([which, user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn run_as(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
