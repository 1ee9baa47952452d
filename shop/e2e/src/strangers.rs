//! Programs in other languages beside a shop on RabbitMQ, PostgreSQL and Redis: what they print is read as lines of
//! JSON. `cargo xtask test install` fetches what they need.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Shop, Shopper};
use tempfile::TempDir;
use tokio::sync::mpsc;
use wingbeat_servers::{Postgres, RabbitMq, Redis};

use crate::fleet::PASSWORD;
use crate::process::{Place, Running, binary, target};

/// How long something awaited may take.
pub const SOON: Duration = Duration::from_secs(60);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(20);

/// The whole shop on servers, for strangers to meet.
pub struct World {
    running: Running,
    place: Place,
    /// The admin, signed in.
    pub admin: Shopper,
    /// RabbitMQ.
    pub broker: RabbitMq,
    /// PostgreSQL.
    pub store: Postgres,
    _cache: Redis,
    asking: tokio::sync::Mutex<Option<Program>>,
    folder: TempDir,
}

impl World {
    /// Starts servers and shop.
    pub async fn start() -> Self {
        let (broker, store, cache) =
            tokio::task::spawn_blocking(|| (RabbitMq::start(), Postgres::start(), Redis::start()))
                .await
                .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = Place::of(&folder.path().join("data"), binary())
            .with("WINGBEAT_BROKER", &broker.url())
            .with("WINGBEAT_STORE", &store.url())
            .with("WINGBEAT_CACHE", &cache.url())
            .with("WINGBEAT_DEV", "on")
            .with("SHOP_ADMIN_PASSWORD", PASSWORD)
            .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "10ms")
            .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "10ms");
        let running = place.start().await;
        let admin = place.shop().admin(PASSWORD).await.unwrap();
        Self {
            running,
            place,
            admin,
            broker,
            store,
            _cache: cache,
            asking: tokio::sync::Mutex::default(),
            folder,
        }
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self) -> Shop {
        self.place.shop()
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// Has the shop end as a service manager does.
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
            _ => self.node(&source.join(program)),
        };
        command
            .args(args)
            .env("WINGBEAT_BROKER", self.broker.url())
            .current_dir(self.folder.path());
        command
    }

    /// Node looks for packages beside a program, so it runs from a folder that has them.
    fn node(&self, program: &Path) -> Command {
        let packages = installed(program.parent().unwrap(), "interop");
        let link = self.folder.path().join("node_modules");
        if !link.exists() {
            std::os::unix::fs::symlink(packages.join("node_modules"), link).unwrap();
        }
        let copy = self.folder.path().join(program.file_name().unwrap());
        fs::copy(program, &copy).unwrap();
        let mut command = Command::new("node");
        command.arg(copy);
        command
    }

    /// Starts a subscriber, and waits until it is one.
    pub async fn subscriber(&self, program: &str, queue: &str, types: &[&str]) -> Program {
        let args: Vec<&str> = [&[queue], types].concat();
        let mut program = Program::start(self.command(program, &args));
        let first = program.next().await;
        assert_eq!(first["subscribed"], queue);
        program
    }

    /// Has a program publish, and waits until it has.
    pub async fn publish(&self, program: &str, args: &[&str]) {
        let mut command = self.command(program, args);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {told}");
    }

    /// An admin's list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.admin.ask(Call::get(path)).await.unwrap();
        let all: Value = serde_json::from_slice(&answer.body).unwrap();
        all["items"].as_array().cloned().unwrap_or_default()
    }

    /// Asks for something of the admin's that is accepted.
    pub async fn tell(&self, path: &str) {
        let answer = self.admin.ask(Call::post(path)).await.unwrap();
        assert_eq!(answer.status, 202, "{path}");
    }

    /// Messages of a queue that nobody was handed. (What `rabbitmqctl` says of quorum queues is seconds old.)
    pub async fn ready(&self, queue: &str) -> u64 {
        let mut asking = self.asking.lock().await;
        let program = asking.get_or_insert_with(|| Program::start(self.command("ready.py", &[])));
        program.tell(&Value::from(queue));
        let answer = program.next().await;
        assert_eq!(answer["queue"], queue);
        answer["ready"].as_u64().unwrap()
    }

    /// Waits until the audit finds nothing broken.
    pub async fn holds(&self) {
        let until = tokio::time::Instant::now() + SOON;
        loop {
            let (report, text) = self.admin.audit().await.unwrap();
            if report.ok {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "{text}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until `look` finds something.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let until = tokio::time::Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < until, "never: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A folder with the packages that `manifest` asks for.
///
/// # Panics
///
/// If they are not there, or not those.
#[must_use]
pub fn installed(manifest: &Path, name: &str) -> PathBuf {
    let folder = target().join(name);
    let pins = ["package-lock.json", "requirements.txt"].map(|file| fs::read(manifest.join(file)));
    let asked = pins.into_iter().flatten().flatten();
    let told = fs::read(folder.join("installed")).unwrap_or_default();
    assert!(
        asked.eq(told),
        "{} is missing or stale: `cargo xtask test install` makes it",
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

/// A program that runs; dropped, it is killed.
pub struct Program {
    child: Child,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl Program {
    /// Starts it.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::unbounded_channel();
        // It ends with the program, whose output ends.
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            let values = lines.filter_map(|line| serde_json::from_str(&line).ok());
            values
                .map_while(|value| send.send(value).ok())
                .for_each(drop);
        });
        Self { child, lines }
    }

    /// The next line.
    pub async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(SOON, self.lines.recv()).await;
        line.expect("it says something in time")
            .expect("it has not ended")
    }

    /// Whether it has said nothing that was not read.
    pub fn is_silent(&mut self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &Value) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As a service manager does; whether it ended with 0.
    pub async fn terminate(mut self) -> bool {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
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
