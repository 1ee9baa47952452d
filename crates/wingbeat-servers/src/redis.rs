//! Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::authority::Issued;
use crate::folder::Folder;
use crate::instance::Instance;
use crate::port::free_port;
use crate::programs;

/// The number of databases. Each test may use its own.
const DATABASES: &str = "128";

/// The time limit for the reply to a readiness check, which is repeated.
const CHECK_LIMIT: Duration = Duration::from_millis(500);
/// The time limit for the reply to a command, which is sent once.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A private Redis with an append-only file: it keeps its data over a restart.
pub struct Redis {
    port: u16,
    data: PathBuf,
    instance: Instance,
}

impl Redis {
    /// Starts a server, and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If `redis-server` is not installed, or if the server is not ready within 300 s.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["--cluster-enabled", "yes"]`.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let program = programs::require("redis-server", "redis-server");
        let (folder, port) = (Folder::new("redis"), free_port());
        let data = folder.path().to_owned();
        let folder_of_data = data.clone();
        let command = move || {
            let mut command = Command::new(&program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--appendonly", "yes", "--save", "", "--daemonize", "no"])
                .args(["--databases", DATABASES])
                .arg("--dir")
                .arg(&folder_of_data)
                .args(&arguments);
            command
        };
        let instance = Instance::start("redis-server", folder, command, move || is_ready(port));
        Self {
            port,
            data,
            instance,
        }
    }

    /// Starts a sentinel that monitors the server at a port under the name `shop`. It replies to
    /// the commands of a sentinel only.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[must_use]
    pub fn start_sentinel(master: u16) -> Self {
        let program = programs::require("redis-server", "redis-server");
        let (folder, port) = (Folder::new("sentinel"), free_port());
        let data = folder.path().to_owned();
        let file = data.join("sentinel.conf");
        let text =
            format!("bind 127.0.0.1\nport {port}\nsentinel monitor shop 127.0.0.1 {master} 1\n");
        std::fs::write(&file, text).expect("the temporary folder can be written");
        let command = move || {
            let mut command = Command::new(&program);
            command.arg(&file).arg("--sentinel");
            command
        };
        let instance = Instance::start("redis-server", folder, command, move || is_ready(port));
        Self {
            port,
            data,
            instance,
        }
    }

    /// Listens with TLS on another port, or with another certificate on the same one. With
    /// `clients`, the server accepts only clients with a certificate of the authority.
    ///
    /// # Panics
    ///
    /// If the server does not confirm within 30 s.
    pub fn use_tls(&self, port: u16, authority: &str, issued: &Issued, clients: bool) {
        let write = |name: &str, text: &str| {
            let file = self.data.join(name);
            std::fs::write(&file, text).expect("the temporary folder can be written");
            file.display().to_string()
        };
        let (authority, clients) = (
            write("authority", authority),
            if clients { "yes" } else { "no" },
        );
        let certificate = write("certificate", &issued.certificate);
        let key = write("key", &issued.key);
        let command = format!(
            "CONFIG SET tls-ca-cert-file {authority} tls-cert-file {certificate} \
             tls-key-file {key} tls-auth-clients {clients} tls-port {port}\r\n"
        );
        self.command(&command, "+OK");
    }

    /// Closes the port for connections without TLS; see [`use_tls`](Self::use_tls). The server
    /// takes no further command from here.
    ///
    /// # Panics
    ///
    /// If the server does not confirm within 30 s.
    pub fn accept_only_tls(&self) {
        self.command("CONFIG SET port 0", "+OK");
    }

    /// Sends a command in the inline form, and checks the beginning of the reply.
    ///
    /// # Panics
    ///
    /// If the reply is another one, or none within 30 s.
    pub fn command(&self, command: &str, reply: &str) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let command = format!("{}\r\n", command.trim_end());
        let replied = replies(address, COMMAND_LIMIT, command.as_bytes(), reply.as_bytes());
        assert!(replied, "Redis did not reply {reply} to {command}");
    }

    /// Returns the URL: `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Shuts the server down in an orderly way.
    pub fn stop(&self) {
        self.instance.end(Signal::TERM);
    }

    /// Kills the server, as a power failure would.
    pub fn kill(&self) {
        self.instance.end(Signal::KILL);
    }

    /// Starts the server after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port and
    /// data.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start), and if the server is running.
    pub fn start_again(&self) {
        self.instance.start_again();
    }

    /// Deletes all data (`FLUSHALL`).
    ///
    /// # Panics
    ///
    /// If the server does not confirm within 30 s.
    pub fn flush_all(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let flushed = replies(address, COMMAND_LIMIT, b"FLUSHALL\r\n", b"+OK");
        assert!(flushed, "Redis did not confirm FLUSHALL");
    }

    /// Limits the memory (`maxmemory`) in bytes; 0 removes the limit. With a limit below the memory
    /// in use, Redis refuses all writes.
    ///
    /// # Panics
    ///
    /// If the server does not confirm within 30 s.
    pub fn limit_memory(&self, bytes: u64) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let command = format!("CONFIG SET maxmemory {bytes}\r\n");
        let limited = replies(address, COMMAND_LIMIT, command.as_bytes(), b"+OK");
        assert!(limited, "Redis did not confirm the memory limit");
    }

    /// Suspends the server (`SIGSTOP`): connections can be opened and nothing is sent.
    pub fn pause(&self) {
        self.instance.pause();
    }

    /// Resumes the server after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.instance.resume();
    }
}

fn is_ready(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    replies(address, CHECK_LIMIT, b"PING\r\n", b"+PONG")
}

/// Returns whether the server sends `reply` to a command within the time limit.
fn replies(address: SocketAddr, limit: Duration, command: &[u8], reply: &[u8]) -> bool {
    let Ok(mut socket) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let mut received = vec![0; reply.len()];
    socket.set_read_timeout(Some(limit)).is_ok()
        && socket.write_all(command).is_ok()
        && socket.read_exact(&mut received).is_ok()
        && received == reply
}
