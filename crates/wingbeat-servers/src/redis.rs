//! Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::instance::Instance;
use crate::place::Place;
use crate::port::free_port;
use crate::programs;

/// Numbered databases: room for tests that each want one of their own.
const DATABASES: &str = "128";

/// How soon it answers that is asked again if it does not, and who is asked once.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

/// A private Redis with an append-only file, so that it keeps its data over a restart.
pub struct Redis {
    port: u16,
    instance: Instance,
}

impl Redis {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If `redis-server` is missing, or does not answer within 90 s; so does [`Self::start_again`].
    #[must_use]
    pub fn start() -> Self {
        let program = programs::find("redis-server", "redis-server");
        let (place, port) = (Place::new("redis"), free_port());
        let folder = place.path().to_owned();
        let command = move || {
            let mut command = Command::new(&program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--appendonly", "yes", "--save", "", "--daemonize", "no"])
                .args(["--databases", DATABASES])
                .arg("--dir")
                .arg(&folder);
            command
        };
        let instance = Instance::start("redis-server", place, command, move || answers(port));
        Self { port, instance }
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it in good order.
    pub fn stop(&self) {
        self.instance.end(Signal::TERM);
    }

    /// Ends it where it stands.
    pub fn kill(&self) {
        self.instance.end(Signal::KILL);
    }

    /// Starts it again on the same port, with what it kept.
    pub fn start_again(&self) {
        self.instance.start_again();
    }

    /// Has it forget everything.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn empty(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let emptied = told(address, LONG, b"FLUSHALL\r\n", b"+OK");
        assert!(emptied, "Redis does not obey");
    }

    /// Gives it so many bytes of memory, 0 for as much as there is: with less than it holds, it refuses to be told
    /// anything new.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn limit_memory(&self, bytes: u64) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let command = format!("CONFIG SET maxmemory {bytes}\r\n");
        let limited = told(address, LONG, command.as_bytes(), b"+OK");
        assert!(limited, "Redis does not obey");
    }

    /// Holds it still: it takes connections and says nothing.
    pub fn pause(&self) {
        self.instance.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.instance.signal(Signal::CONT);
    }
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    told(address, SHORT, b"PING\r\n", b"+PONG")
}

/// Whether it answers a command so, and in time.
fn told(address: SocketAddr, limit: Duration, command: &[u8], answer: &[u8]) -> bool {
    let Ok(mut socket) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let mut said = vec![0; answer.len()];
    socket.set_read_timeout(Some(limit)).is_ok()
        && socket.write_all(command).is_ok()
        && socket.read_exact(&mut said).is_ok()
        && said == answer
}
