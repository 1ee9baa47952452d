//! Programs in other languages beside a shop on RabbitMQ, PostgreSQL and Redis. They print lines of
//! JSON. `cargo xtask test install` installs the packages that they need.

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Shop, Shopper};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

use crate::fleet::PASSWORD;
use crate::process::{Place, Running, binary, target};
use crate::servers::Servers;
use crate::site::Site;
use crate::verdict::violations;
use crate::wait::{BOUND, check, until};

/// The whole shop in one process on servers, for programs in other languages.
pub struct World {
    running: Running,
    place: Place,
    /// The shop and its operator's interfaces.
    pub site: Site,
    /// The admin, signed in.
    pub admin: Shopper,
    /// The servers.
    pub servers: Servers,
    /// A program that asks the broker for the lengths of queues, once it has been started.
    lengths: Mutex<Option<Program>>,
    folder: TempDir,
}

impl World {
    /// Starts the shop.
    pub async fn start() -> Self {
        let servers = Servers::shared().await;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("data"), binary())
            .with("WINGBEAT_DEV", "on")
            .with("SHOP_ADMIN_PASSWORD", PASSWORD)
            .ships_after("10ms");
        let settings = servers.settings().into_iter();
        let place = settings.fold(place, |place, (name, url)| place.with(&name, &url));
        let running = place.start().await;
        let site = place.site();
        site.stocked().await;
        let admin = site.admin().await;
        Self {
            running,
            place,
            site,
            admin,
            servers,
            lengths: Mutex::default(),
            folder,
        }
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self) -> Shop {
        self.place.shop()
    }

    /// The shop's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// The broker's URL.
    #[must_use]
    pub fn broker_url(&self) -> String {
        self.servers.broker_at(self.servers.broker_port())
    }

    /// Terminates the shop.
    pub fn close(self) {
        let status = self.running.terminate();
        assert!(status.success(), "the shop ended with {status}");
    }

    /// A program of `shop/e2e/interop`, by its file name.
    #[must_use]
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
        let mut command = match Path::new(program).extension() {
            Some(extension) if extension == "py" => python(&source.join(program)),
            _ => node(program, self.folder.path()),
        };
        command
            .args(args)
            .env("WINGBEAT_BROKER", self.broker_url())
            .current_dir(self.folder.path());
        command
    }

    /// Starts a subscriber and waits until it has subscribed.
    pub async fn subscriber(&self, program: &str, queue: &str, types: &[&str]) -> Program {
        let args: Vec<&str> = [&[queue], types].concat();
        let mut program = Program::start(self.command(program, &args));
        let first = program.next().await;
        assert_eq!(first["subscribed"], queue);
        program
    }

    /// Runs a program that publishes a message.
    pub async fn publish(&self, program: &str, args: &[&str]) {
        let mut command = self.command(program, args);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {errors}");
    }

    /// The items of one of the admin's lists.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.admin.ask(Call::get(path)).await.unwrap();
        let all: Value = serde_json::from_slice(&answer.body).unwrap();
        all["items"].as_array().cloned().unwrap_or_default()
    }

    /// Sends an admin's command that is accepted.
    pub async fn post(&self, path: &str) {
        let answer = self.admin.ask(Call::post(path)).await.unwrap();
        assert_eq!(answer.status, 202, "{path}");
    }

    /// The number of messages in a queue that no consumer has. (The figures of `rabbitmqctl` for
    /// quorum queues are seconds old.)
    pub async fn ready(&self, queue: &str) -> u64 {
        let mut lengths = self.lengths.lock().await;
        let program = lengths.get_or_insert_with(|| Program::start(self.command("ready.py", &[])));
        program.send(&Value::from(queue));
        let answer = program.next().await;
        assert_eq!(answer["queue"], queue);
        answer["ready"].as_u64().unwrap()
    }

    /// Waits until the queue has so many messages that no consumer has.
    pub async fn until_ready(&self, queue: &str, count: u64) {
        until(&format!("{count} messages in {queue}"), async || {
            let ready = self.ready(queue).await;
            check(ready == count, ready)
        })
        .await;
    }

    /// Checks all promises of the shop once nothing is on its way.
    pub async fn keeps_its_promises(&self) {
        assert_eq!(violations(&self.site).await, Vec::<String>::new());
    }
}

/// A Node program of `shop/e2e/interop`. Node looks for packages beside it, so it runs from a
/// folder that has them.
#[must_use]
pub fn node(program: &str, folder: &Path) -> Command {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    let packages = installed(&source, "interop");
    let link = folder.join("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(packages.join("node_modules"), link).unwrap();
    }
    let copy = folder.join(program);
    fs::copy(source.join(program), &copy).unwrap();
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

/// The folder with the installed packages of a `manifest` folder.
///
/// # Panics
///
/// Panics if they are missing or older than the manifest.
#[must_use]
pub fn installed(manifest: &Path, name: &str) -> PathBuf {
    let folder = target().join(name);
    let pins = ["package-lock.json", "requirements.txt"].map(|file| fs::read(manifest.join(file)));
    let pinned = pins.into_iter().flatten().flatten();
    let installed = fs::read(folder.join("installed")).unwrap_or_default();
    assert!(
        pinned.eq(installed),
        "{} is missing or stale: run `cargo xtask test install`",
        folder.display()
    );
    folder
}

fn python(program: &Path) -> Command {
    let packages = installed(program.parent().unwrap(), "interop").join("python");
    let mut command = Command::new("python3");
    command
        .arg(program)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A running program. Dropping it kills it.
pub struct Program {
    child: Child,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl Program {
    /// Starts a program.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::unbounded_channel();
        // The thread ends with the program, whose output ends.
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            let values = lines.filter_map(|line| serde_json::from_str(&line).ok());
            values
                .map_while(|value| send.send(value).ok())
                .for_each(drop);
        });
        Self { child, lines }
    }

    /// Waits for the next line that it prints.
    pub async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(BOUND, self.lines.recv()).await;
        line.expect("the program prints a line")
            .expect("the program has not ended")
    }

    /// Returns whether all lines that it has printed so far were read.
    pub fn is_silent(&mut self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Sends it a line.
    pub fn send(&mut self, line: &Value) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Kills it with `SIGKILL`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Terminates it and returns whether it ended with 0.
    pub async fn terminate(mut self) -> bool {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
        let mut child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        let ended = tokio::task::spawn_blocking(move || child.wait());
        ended.await.unwrap().unwrap().success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
