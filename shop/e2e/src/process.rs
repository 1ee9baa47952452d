//! A `shop` process: started on free ports, waited for, asked to end or killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use shop_client::http::Call;
use shop_client::{Shop, audit};
pub use wingbeat_servers::free_port;

use crate::scrape::Scrape;

/// How long a shop may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(10);

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let this = std::env::current_exe().unwrap();
    let mut above = this.ancestors().skip(1);
    let profile = above.find(|folder| !folder.ends_with("deps")).unwrap();
    profile.parent().unwrap().to_owned()
}

/// The binary that users get.
pub fn binary() -> PathBuf {
    let path = target().join("release/shop");
    assert!(
        path.exists(),
        "{} is missing: cargo build --release",
        path.display()
    );
    path
}

/// A place for a shop: its data and its ports, for one process after the other.
pub struct Place {
    pub data: PathBuf,
    port: u16,
    ops_port: u16,
    binary: PathBuf,
    env: Vec<(&'static str, String)>,
}

impl Place {
    pub fn new(data: &Path) -> Self {
        Self::of(data, binary())
    }

    /// A place for another binary.
    pub fn of(data: &Path, binary: PathBuf) -> Self {
        Self {
            data: data.to_owned(),
            port: free_port(),
            ops_port: free_port(),
            binary,
            env: vec![("WINGBEAT_RATE_LIMITS", "off".into())],
        }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// A shop that lacks a mechanism; the binary must have been built for that.
    pub fn without(mut self, mechanism: Option<&str>) -> Self {
        self.env
            .extend(mechanism.map(|it| ("WINGBEAT_SABOTAGE", it.into())));
        self
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it tells at `/metrics`.
    pub async fn metrics(&self) -> Scrape {
        Scrape::of(self.ops_port).await
    }

    pub fn shop(&self) -> Shop {
        Shop::at(&self.url()).unwrap()
    }

    /// The program, not yet started.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let ops = format!("127.0.0.1:{}", self.ops_port);
        command
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--ops-listen", &ops, "--log", "error"])
            .arg("--data")
            .arg(&self.data)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts a shop and waits until it is ready.
    pub async fn start(&self) -> Running {
        self.start_as(self.command()).await
    }

    /// The same with a program of one's own.
    pub async fn start_as(&self, mut command: Command) -> Running {
        let mut running = Running(command.spawn().unwrap());
        let (shop, until) = (self.shop(), Instant::now() + READY_WITHIN);
        loop {
            let ready = shop.ask(&Call::get("/readyz")).await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return running;
            }
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "the shop ended: {ended:?}");
            assert!(Instant::now() < until, "not ready within {READY_WITHIN:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The admin's password.
    pub fn password(&self) -> String {
        audit::admin_password(&self.data).unwrap()
    }
}

/// A running shop; dropped, it is killed.
pub struct Running(Child);

impl Running {
    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As a service manager does.
    pub fn terminate(mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(told.success());
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
