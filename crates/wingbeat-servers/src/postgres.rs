//! PostgreSQL.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::folder::Folder;
use crate::instance::Instance;
use crate::port::free_port;
use crate::programs;

/// The users to run the server as if the tests run as root, which PostgreSQL refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// The content of `pg_hba.conf`: every role without a password, except `guarded`, which a test may
/// create.
const HOSTS: &str = "local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";

/// A private PostgreSQL. It is durable as in production: `fsync` and `synchronous_commit` are on.
pub struct Postgres {
    port: u16,
    instance: Instance,
}

impl Postgres {
    /// Creates an empty database cluster, starts a server on it and waits until it accepts
    /// connections.
    ///
    /// # Panics
    ///
    /// If `postgres` or `initdb` is not installed, or if the server is not ready within 300 s.
    #[must_use]
    pub fn start() -> Self {
        let find = |program| programs::require(program, "postgresql");
        let (initdb, postgres, pg_isready) = (find("initdb"), find("postgres"), find("pg_isready"));
        let (folder, port) = (Folder::new("postgres"), free_port());
        let owner = owner(folder.path());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the temporary folder can be written");
        if let Some((user, group)) = owner {
            chown(&data, Some(user), Some(group)).expect("root may change the owner");
        }
        let locale = [
            "--encoding=UTF8",
            "--locale=C",
            "--auth=trust",
            "--username=postgres",
        ];
        let created = run_as(owner, &initdb)
            .args(locale)
            .arg("--no-sync")
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(
            created.is_ok_and(|status| status.success()),
            "initdb creates a database cluster"
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
        let is_ready = move || {
            Command::new(&pg_isready)
                .args(["-q", "-h", "127.0.0.1", "-t", "1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
        };
        let instance = Instance::start("postgres", folder, command, is_ready);
        Self { port, instance }
    }

    /// Returns the URL: `postgres://postgres@127.0.0.1:<port>/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates a role with the password `right`, and returns its URL with the given password, to
    /// test right and wrong ones.
    ///
    /// # Panics
    ///
    /// If the role cannot be created.
    #[must_use]
    pub fn url_with_password(&self, password: &str) -> String {
        self.sql(
            "DO $$ BEGIN CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right';
             EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        );
        format!(
            "postgres://guarded:{password}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Runs SQL with `psql`, and returns its output.
    ///
    /// # Panics
    ///
    /// If the SQL fails.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in another database, such as one that SQL has created, and returns what `psql`
    /// prints.
    ///
    /// # Panics
    ///
    /// Panics if the SQL fails.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", self.port);
        let output = Command::new(programs::require("psql", "postgresql-client"))
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, &url])
            .output()
            .expect("psql starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql failed: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Ends the server without a checkpoint, as `pg_ctl stop -m immediate` does.
    pub fn stop(&self) {
        self.instance.end(Signal::QUIT);
    }

    /// Starts the server after [`stop`](Self::stop), on the same port and data. It recovers from
    /// its log.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start), and if the server is running.
    pub fn start_again(&self) {
        self.instance.start_again();
    }

    /// Ends all client connections except the one that sends this command.
    pub fn terminate_backends(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    }
}

/// Returns the user and group to run as, if this process runs as root.
fn owner(folder: &Path) -> Option<(u32, u32)> {
    let root = folder.metadata().is_ok_and(|about| about.uid() == 0);
    root.then(|| {
        USERS
            .iter()
            .find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
            .expect("there is a user other than root")
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
