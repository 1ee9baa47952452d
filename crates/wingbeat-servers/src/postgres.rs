//! PostgreSQL.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::authority::Issued;
use crate::folder::Folder;
use crate::instance::Instance;
use crate::port::free_port;
use crate::programs;

/// The time limit for a changed configuration to take effect.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two checks.
const RELOAD_PAUSE: Duration = Duration::from_millis(25);
/// The users to run the server as if the tests run as root, which PostgreSQL refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// The content of `pg_hba.conf`: every role without a password, except those that a test may
/// create: `guarded`, `exposed`, whose password crosses as it is, and `certified`, which needs a
/// certificate of its name.
const HOSTS: &str = "local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all exposed 127.0.0.1/32 password
hostssl all certified 127.0.0.1/32 cert
host all certified 127.0.0.1/32 reject
host replication all 127.0.0.1/32 trust
host all all 127.0.0.1/32 trust
";

/// A private PostgreSQL. It is durable as in production: `fsync` and `synchronous_commit` are on.
pub struct Postgres {
    port: u16,
    data: PathBuf,
    owner: Option<(u32, u32)>,
    /// The number of certificates that the server has had.
    certificates: AtomicU32,
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
        let initdb = find("initdb");
        let (folder, owner, data) = empty_cluster();
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
        Self::start_on(folder, data, owner)
    }

    /// Starts a standby that follows this server, and waits until it accepts connections. It is
    /// read-only until [`promote`](Self::promote).
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[must_use]
    pub fn start_standby(&self) -> Self {
        let program = programs::require("pg_basebackup", "postgresql");
        let (folder, owner, data) = empty_cluster();
        let copied = run_as(owner, &program)
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(self.port.to_string())
            .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"])
            .args(["--write-recovery-conf", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "pg_basebackup copies a database cluster"
        );
        Self::start_on(folder, data, owner)
    }

    fn start_on(folder: Folder, data: PathBuf, owner: Option<(u32, u32)>) -> Self {
        let find = |program| programs::require(program, "postgresql");
        let (postgres, pg_isready, port) = (find("postgres"), find("pg_isready"), free_port());
        let folder_of_data = data.clone();
        let command = move || {
            let data = &folder_of_data;
            let mut command = run_as(owner, &postgres);
            command.arg("-D").arg(data).arg("-k").arg(data);
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
        Self {
            port,
            data,
            owner,
            certificates: AtomicU32::new(0),
            instance,
        }
    }

    /// Makes a standby accept writes, and waits until it does.
    ///
    /// # Panics
    ///
    /// If it does not within a minute.
    pub fn promote(&self) {
        let promoted = self.sql("SELECT pg_promote(true, 60)");
        assert_eq!(promoted.trim(), "t", "the standby was not promoted");
    }

    /// Offers TLS with a certificate from now on. `authority` issues the certificates of clients.
    ///
    /// # Panics
    ///
    /// If the server does not use the certificate within a minute.
    pub fn use_tls(&self, authority: &str, issued: &Issued) {
        let number = self.certificates.fetch_add(1, Ordering::Relaxed);
        let write = |name: &str, text: &str| {
            let file = self.data.join(format!("{name}-{number}.pem"));
            std::fs::write(&file, text).expect("the cluster can be written");
            std::fs::set_permissions(&file, Permissions::from_mode(0o600))
                .expect("the cluster can be written");
            if let Some((user, group)) = self.owner {
                chown(&file, Some(user), Some(group)).expect("root may change the owner");
            }
            file.display().to_string()
        };
        let certificate = write("certificate", &issued.certificate);
        for (setting, value) in [
            ("ssl_ca_file", write("authority", authority)),
            ("ssl_key_file", write("key", &issued.key)),
            ("ssl_cert_file", certificate.clone()),
            ("ssl", "on".to_owned()),
        ] {
            self.sql(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
        }
        self.reload("ssl_cert_file", &certificate);
    }

    /// Refuses connections without TLS from now on; see [`use_tls`](Self::use_tls).
    ///
    /// # Panics
    ///
    /// If the server accepts them for another minute.
    pub fn accept_only_tls(&self) {
        let hosts = HOSTS.replace("host ", "hostssl ");
        std::fs::write(self.data.join("pg_hba.conf"), hosts).expect("the cluster can be written");
        self.sql("SELECT pg_reload_conf()");
        let address = format!("host=127.0.0.1 port={} user=postgres", self.port);
        let start = Instant::now();
        loop {
            let mut plain = Command::new(programs::require("psql", "postgresql-client"));
            plain.args(["-qAtX", "-c", "SELECT 1"]);
            plain.arg(format!("{address} dbname=postgres sslmode=disable"));
            let output = plain.output().expect("psql starts");
            if !output.status.success() {
                return;
            }
            assert!(start.elapsed() < RELOAD_LIMIT, "plain text is accepted");
            std::thread::sleep(RELOAD_PAUSE);
        }
    }

    /// Makes the server read its configuration, and waits until a setting has a value.
    fn reload(&self, setting: &str, value: &str) {
        self.sql("SELECT pg_reload_conf()");
        let start = Instant::now();
        while self.sql(&format!("SHOW {setting}")).trim() != value {
            assert!(start.elapsed() < RELOAD_LIMIT, "{setting} is not {value}");
            std::thread::sleep(RELOAD_PAUSE);
        }
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

/// Creates the empty folder of a database cluster.
fn empty_cluster() -> (Folder, Option<(u32, u32)>, PathBuf) {
    let folder = Folder::new("postgres");
    let owner = owner(folder.path());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("the temporary folder can be written");
    std::fs::set_permissions(&data, Permissions::from_mode(0o700))
        .expect("the temporary folder can be written");
    if let Some((user, group)) = owner {
        chown(&data, Some(user), Some(group)).expect("root may change the owner");
    }
    (folder, owner, data)
}

/// Returns the user and group to run as, if this process runs as root.
pub(crate) fn owner(folder: &Path) -> Option<(u32, u32)> {
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

pub(crate) fn run_as(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
