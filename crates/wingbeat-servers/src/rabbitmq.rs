//! RabbitMQ.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::instance::Instance;
use crate::place::Place;
use crate::port::free_port;
use crate::programs;

/// A private RabbitMQ node without plugins, with a port mapper of its own.
pub struct RabbitMq {
    port: u16,
    environment: Environment,
    instance: Instance,
}

impl RabbitMq {
    /// Starts one, and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If `rabbitmq-server` is missing, or does not answer within 90 s; so does [`Self::start_again`].
    #[must_use]
    pub fn start() -> Self {
        let program = programs::rabbitmq("rabbitmq-server");
        let (place, port) = (Place::new("rabbitmq"), free_port());
        let environment = Environment {
            folder: place.path().to_owned(),
            port,
            distribution: free_port(),
            mapper: free_port(),
        };
        std::fs::write(place.path().join("plugins"), "[].").expect("the folder can be written");
        place.at_last(&format!("ERL_EPMD_PORT={} epmd -kill", environment.mapper));
        let of_server = environment.clone();
        let command = move || of_server.command(&program);
        let instance = Instance::start("rabbitmq-server", place, command, move || answers(port));
        Self {
            port,
            environment,
            instance,
        }
    }

    /// `amqp://guest:guest@127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs `rabbitmqctl`, and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn control(&self, args: &[&str]) -> String {
        let output = self
            .environment
            .command(&programs::rabbitmq("rabbitmqctl"))
            .arg("--quiet")
            .args(args)
            .output()
            .expect("rabbitmqctl starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl fails: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Has the broker close all connections.
    pub fn close_connections(&self) {
        self.control(&["close_all_connections", "closed by a test"]);
    }

    /// Raises its memory alarm: it takes nothing until [`Self::unblock`].
    pub fn block(&self) {
        self.control(&["set_vm_memory_high_watermark", "0"]);
    }

    /// Ends the alarm.
    pub fn unblock(&self) {
        self.control(&["set_vm_memory_high_watermark", "0.6"]);
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

    /// Holds it still: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.instance.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.instance.signal(Signal::CONT);
    }
}

/// What tells one node on this machine from another.
#[derive(Clone)]
struct Environment {
    folder: PathBuf,
    port: u16,
    distribution: u16,
    mapper: u16,
}

impl Environment {
    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", &self.folder)
            .env(
                "RABBITMQ_NODENAME",
                format!("wingbeat{}@localhost", self.port),
            )
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("data"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("logs"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq"))
            // So that the script becomes the node, instead of watching over it.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .current_dir(&self.folder);
        command
    }
}

/// Whether the node answers a protocol header with a frame (AMQP 0-9-1, section 4.2.2).
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_millis(1000);
    let Ok(mut socket) = TcpStream::connect_timeout(&address, limit) else {
        return false;
    };
    let mut frame = [0; 1];
    socket.set_read_timeout(Some(limit)).is_ok()
        && socket.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
        && socket.read_exact(&mut frame).is_ok()
        && frame == [1]
}
