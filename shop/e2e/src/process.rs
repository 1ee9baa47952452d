//! The whole shop as one process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use shop_client::http::Call;
use shop_client::{Shop, audit};
pub use wingbeat_servers::free_port;

use crate::scrape::Scrape;
use crate::site::Site;
use crate::wait::{check, until};

/// The folder that cargo builds into.
#[must_use]
pub fn target() -> PathBuf {
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let this = std::env::current_exe().unwrap();
    let mut above = this.ancestors().skip(1);
    let profile = above.find(|folder| !folder.ends_with("deps")).unwrap();
    profile.parent().unwrap().to_owned()
}

/// The binary that users get.
#[must_use]
pub fn binary() -> PathBuf {
    built("release/shop", "cargo build --release")
}

/// The build that can be made to lack a mechanism, or to end at a step.
#[must_use]
pub fn sabotaged() -> PathBuf {
    built("sabotaged/shop", "cargo xtask test release")
}

pub(crate) fn built(file: &str, command: &str) -> PathBuf {
    let path = target().join(file);
    assert!(
        path.exists(),
        "{} is missing: run `{command}`",
        path.display()
    );
    path
}

/// The data, ports and settings of a shop, for one process after the other.
pub struct Place {
    /// The data directory.
    pub data: PathBuf,
    port: u16,
    ops_port: u16,
    binary: PathBuf,
    env: Vec<(String, String)>,
}

impl Place {
    /// A place for the binary that users get.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self::of(data, binary())
    }

    /// A place for another binary.
    #[must_use]
    pub fn of(data: &Path, binary: PathBuf) -> Self {
        Self {
            data: data.to_owned(),
            port: free_port(),
            ops_port: free_port(),
            binary,
            env: vec![("WINGBEAT_RATE_LIMITS".into(), "off".into())],
        }
    }

    /// Sets a variable in the environment of the process.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets parcels be dispatched and delivered after this time each, such as `50ms`.
    #[must_use]
    pub fn ships_after(self, time: &str) -> Self {
        self.with("WINGBEAT_SHIPPING_DISPATCH_AFTER", time)
            .with("WINGBEAT_SHIPPING_DELIVER_AFTER", time)
    }

    /// Removes a mechanism, if one is given; the binary must be [`sabotaged`].
    #[must_use]
    pub fn without(mut self, mechanism: Option<&str>) -> Self {
        let variable = |it: &str| ("WINGBEAT_SABOTAGE".to_owned(), it.to_owned());
        self.env.extend(mechanism.map(variable));
        self
    }

    /// The shop's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The metrics of the process.
    pub async fn metrics(&self) -> Scrape {
        until("the shop exposes metrics", async || {
            Scrape::of(self.ops_port).await
        })
        .await
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self) -> Shop {
        Shop::at(&self.url()).unwrap()
    }

    /// The shop and its operator's interfaces, once it has been started.
    #[must_use]
    pub fn site(&self) -> Site {
        Site {
            shop: self.shop(),
            password: self.password(),
            ops_ports: vec![self.ops_port],
        }
    }

    /// The program, not yet started.
    #[must_use]
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

    /// Starts a program that is the shop at this place, and waits until it is ready.
    pub async fn start_as(&self, mut command: Command) -> Running {
        let mut running = Running(command.spawn().unwrap());
        let shop = self.shop();
        until("the shop is ready", async || {
            let answer = shop.ask(&Call::get("/readyz")).await;
            let ready = answer.is_ok_and(|answer| answer.status == 200);
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "the shop ended: {ended:?}");
            check(ready, "it is not")
        })
        .await;
        running
    }

    /// Starts a program that is the shop at this place, and waits until it ends without being asked
    /// to.
    pub async fn start_to_end(&self, mut command: Command) -> ExitStatus {
        let mut running = Running(command.spawn().unwrap());
        until("the shop ends", async || {
            running.0.try_wait().unwrap().ok_or("it still runs")
        })
        .await
    }

    /// The admin's password: the one in its settings, or the one that the shop has made up.
    #[must_use]
    pub fn password(&self) -> String {
        let mut env = self.env.iter();
        let set = env.find(|(name, _)| name == "SHOP_ADMIN_PASSWORD");
        let set = set.map(|(_, password)| password.clone());
        set.unwrap_or_else(|| audit::admin_password(&self.data).unwrap())
    }
}

/// A running shop. Dropping it kills it.
pub struct Running(Child);

impl Running {
    /// Kills the process with `SIGKILL`.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends `SIGTERM` and waits for the end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
