//! PgBouncer.

use std::process::Command;

use crate::folder::Folder;
use crate::instance::Instance;
use crate::port::free_port;
use crate::postgres::{owner, run_as};
use crate::programs;

/// A private PgBouncer in front of a PostgreSQL of this machine.
pub struct PgBouncer {
    port: u16,
    _instance: Instance,
}

impl PgBouncer {
    /// Starts PgBouncer in front of the server at a port, and waits until it accepts connections.
    /// `settings` are lines of its configuration file, such as `pool_mode = transaction`.
    ///
    /// # Panics
    ///
    /// If `pgbouncer` is not installed or not ready in time.
    #[must_use]
    pub fn start(target: u16, settings: &[&str]) -> Self {
        let program = programs::require("pgbouncer", "pgbouncer");
        let pg_isready = programs::require("pg_isready", "postgresql");
        let (folder, port) = (Folder::new("pgbouncer"), free_port());
        let (users, file) = (folder.path().join("users"), folder.path().join("config"));
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={target}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\n{}\n",
            users.display(),
            settings.join("\n")
        );
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("the temporary folder can be written");
        std::fs::write(&file, config).expect("the temporary folder can be written");
        let owner = owner(folder.path());
        let command = move || {
            let mut command = run_as(owner, &program);
            command.arg(&file);
            command
        };
        let is_ready = move || {
            Command::new(&pg_isready)
                .args(["-q", "-h", "127.0.0.1", "-t", "1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|status| status.success())
        };
        let instance = Instance::start("pgbouncer", folder, command, is_ready);
        Self {
            port,
            _instance: instance,
        }
    }

    /// Returns the URL: `postgres://postgres@127.0.0.1:<port>/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}
