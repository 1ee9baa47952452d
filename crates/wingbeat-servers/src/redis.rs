//! Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

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
        let program = programs::require("redis-server", "redis-server");
        let (folder, port) = (Folder::new("redis"), free_port());
        let data = folder.path().to_owned();
        let command = move || {
            let mut command = Command::new(&program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--appendonly", "yes", "--save", "", "--daemonize", "no"])
                .args(["--databases", DATABASES])
                .arg("--dir")
                .arg(&data);
            command
        };
        let instance = Instance::start("redis-server", folder, command, move || is_ready(port));
        Self { port, instance }
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
        self.instance.signal(Signal::STOP);
    }

    /// Resumes the server after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.instance.signal(Signal::CONT);
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
