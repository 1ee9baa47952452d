//! RabbitMQ.

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

/// A private RabbitMQ node without plugins, with its own port mapper (`epmd`).
pub struct RabbitMq {
    port: u16,
    environment: Environment,
    instance: Instance,
}

impl RabbitMq {
    /// Starts a node, and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If `rabbitmq-server` is not installed, or if the node is not ready within 300 s.
    #[must_use]
    pub fn start() -> Self {
        let program = programs::require_rabbitmq("rabbitmq-server");
        let (folder, port) = (Folder::new("rabbitmq"), free_port());
        let environment = Environment {
            folder: folder.path().to_owned(),
            port,
            distribution: free_port(),
            mapper: free_port(),
        };
        std::fs::write(folder.path().join("plugins"), "[].").expect("the folder can be written");
        folder.run_last(&format!("ERL_EPMD_PORT={} epmd -kill", environment.mapper));
        let of_server = environment.clone();
        let command = move || of_server.command(&program);
        let instance = Instance::start("rabbitmq-server", folder, command, move || is_ready(port));
        Self {
            port,
            environment,
            instance,
        }
    }

    /// Returns the URL: `amqp://guest:guest@127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs `rabbitmqctl`, and returns its output.
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub fn control(&self, args: &[&str]) -> String {
        let output = self
            .environment
            .command(&programs::require_rabbitmq("rabbitmqctl"))
            .arg("--quiet")
            .args(args)
            .output()
            .expect("rabbitmqctl starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl failed: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Listens with TLS on further ports: one for each certificate, without and with `true` for
    /// listeners that accept only clients with a certificate of the authority. Returns the ports.
    ///
    /// # Panics
    ///
    /// If the node does not listen.
    #[must_use]
    pub fn listen_tls(&self, authority: &str, listeners: &[(&Issued, bool)]) -> Vec<u16> {
        let write = |name: String, text: &str| {
            let file = self.environment.folder.join(name);
            std::fs::write(&file, text).expect("the temporary folder can be written");
            file.display().to_string()
        };
        let mut code = "rabbit_networking:ensure_ssl()".to_owned();
        let mut ports = Vec::new();
        for (issued, clients) in listeners {
            let port = free_port();
            let authority = write(format!("authority-{port}"), authority);
            let certificate = write(format!("certificate-{port}"), &issued.certificate);
            let key = write(format!("key-{port}"), &issued.key);
            code += &format!(
                ", rabbit_networking:start_ssl_listener({port}, [{{cacertfile, \"{authority}\"}}, \
                 {{certfile, \"{certificate}\"}}, {{keyfile, \"{key}\"}}, \
                 {{verify, verify_peer}}, {{fail_if_no_peer_cert, {clients}}}], 2)"
            );
            ports.push(port);
        }
        self.control(&["eval", &format!("{code}, ok.")]);
        ports
    }

    /// Closes the port for connections without TLS; see [`listen_tls`](Self::listen_tls).
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub fn accept_only_tls(&self) {
        let code = "{ok, All} = application:get_env(rabbit, tcp_listeners), \
                    [rabbit_networking:stop_tcp_listener(It) || It <- All], ok.";
        self.control(&["eval", code]);
    }

    /// Makes the broker close all connections.
    pub fn close_connections(&self) {
        self.control(&["close_all_connections", "closed by a test"]);
    }

    /// Raises the memory alarm: the broker blocks publishers until [`unblock`](Self::unblock).
    pub fn block(&self) {
        self.control(&["set_vm_memory_high_watermark", "0"]);
    }

    /// Clears the memory alarm.
    pub fn unblock(&self) {
        self.control(&["set_vm_memory_high_watermark", "0.6"]);
    }

    /// Shuts the node down in an orderly way.
    pub fn stop(&self) {
        self.instance.end(Signal::TERM);
    }

    /// Kills the node, as a power failure would.
    pub fn kill(&self) {
        self.instance.end(Signal::KILL);
    }

    /// Starts the node after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port and
    /// data.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start), and if the node is running.
    pub fn start_again(&self) {
        self.instance.start_again();
    }

    /// Suspends the node (`SIGSTOP`): connections stay open and nothing is sent.
    pub fn pause(&self) {
        self.instance.pause();
    }

    /// Resumes the node after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.instance.resume();
    }
}

/// The folder and ports that distinguish a node from others on this machine.
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
            // The script replaces itself with the node, so that signals reach the node.
            .env("RUNNING_UNDER_SYSTEMD", "1")
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .current_dir(&self.folder);
        command
    }
}

/// Returns whether the node replies to a protocol header with a frame (AMQP 0-9-1, section 4.2.2).
fn is_ready(port: u16) -> bool {
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
