//! The shop as processes of their own: each service, some of them twice, the gateway and the provider, on private
//! RabbitMQ, PostgreSQL and Redis, which they reach through wires that can be cut.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use shop_client::Shop;
use shop_client::http::Call;
use shop_registry::NAMES;
use wingbeat_servers::{Postgres, RabbitMq, Redis};

use crate::process::free_port;
use crate::stock;
use crate::wire::Wire;

/// The admin's password in a fleet.
pub const PASSWORD: &str = "a password of a fleet";
/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a process may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(60);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(20);
/// Services with two replicas in an ordinary fleet: those on the path of an order.
const REPLICATED: [&str; 3] = ["inventory", "orders", "payments"];

/// The servers, and the wires to them.
pub struct Servers {
    /// RabbitMQ.
    pub broker: RabbitMq,
    /// PostgreSQL.
    pub store: Postgres,
    /// Redis.
    pub cache: Redis,
    /// Between services and RabbitMQ.
    pub to_broker: Wire,
    /// Between services and PostgreSQL.
    pub to_store: Wire,
    /// Between services and Redis.
    pub to_cache: Wire,
}

impl Servers {
    /// Starts all of them.
    pub async fn start() -> Self {
        let (broker, store, cache) =
            tokio::task::spawn_blocking(|| (RabbitMq::start(), Postgres::start(), Redis::start()))
                .await
                .unwrap();
        Self {
            to_broker: Wire::to(broker.port()).await,
            to_store: Wire::to(store.port()).await,
            to_cache: Wire::to(cache.port()).await,
            broker,
            store,
            cache,
        }
    }

    /// The settings by which services reach them.
    #[must_use]
    pub fn settings(&self) -> [(String, String); 3] {
        let broker = format!("amqp://guest:guest@127.0.0.1:{}", self.to_broker.port());
        let store = format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            self.to_store.port()
        );
        let cache = format!("redis://127.0.0.1:{}", self.to_cache.port());
        [
            ("WINGBEAT_BROKER".into(), broker),
            ("WINGBEAT_STORE".into(), store),
            ("WINGBEAT_CACHE".into(), cache),
        ]
    }
}

/// One process: a replica of a service, the gateway, or the provider.
pub struct Member {
    /// The service's name.
    pub service: &'static str,
    /// Its port.
    pub port: u16,
    /// The port of its metrics.
    pub ops_port: u16,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    child: Option<Child>,
}

impl Member {
    /// Starts it.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.service);
        self.child = Some((self.command)().spawn().unwrap());
    }

    /// Starts it with more in its environment.
    pub fn start_with(&mut self, name: &str, value: &str) {
        assert!(self.child.is_none(), "{} runs", self.service);
        self.child = Some((self.command)().env(name, value).spawn().unwrap());
    }

    /// How it ended, if it has ended by itself; then it can be started again.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As a service manager does: asks it to end, and waits for that.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let mut child = self.child.take().unwrap();
        let until = Instant::now() + END_WITHIN;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "{} does not end", self.service);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sends it a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let id = child.id().to_string();
            // It may have ended by itself meanwhile: then there is nobody to hear it.
            let _ = Command::new("kill")
                .args([signal, &id])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Its resident memory in MiB (Linux).
    #[must_use]
    pub fn resident_mib(&self) -> u64 {
        self.memory_kib("VmRSS") / 1024
    }

    /// A figure of its memory in KiB, such as `RssAnon` (Linux, proc(5)).
    #[must_use]
    pub fn memory_kib(&self, field: &str) -> u64 {
        let id = self.child.as_ref().map_or(0, Child::id);
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| *name == field);
        let kib = found.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0)
    }

    /// Starts it again if it has ended by itself, as a service manager does; how it ended.
    pub fn revive(&mut self) -> Option<ExitStatus> {
        let status = self.ended()?;
        self.start();
        Some(status)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes and their servers.
pub struct Fleet {
    /// The processes; the last one is a gateway.
    pub members: Vec<Member>,
    /// The servers.
    pub servers: Servers,
    /// Logs and data.
    pub folder: PathBuf,
    /// Processes that ended by themselves, but not because a server was away at their start.
    pub crashed: Vec<String>,
}

impl Fleet {
    /// Starts a fleet with this binary and waits until it is ready.
    pub async fn start(folder: PathBuf, binary: PathBuf, extra: &[(&str, &str)]) -> Self {
        let services = NAMES.map(|name| (name, 1 + usize::from(REPLICATED.contains(&name))));
        Self::of_replicas(&services, 1, folder, binary, extra).await
    }

    /// The same with one replica of every service.
    pub async fn start_lean(folder: PathBuf, binary: PathBuf, extra: &[(&str, &str)]) -> Self {
        let once = NAMES.map(|service| (service, 1));
        Self::of_replicas(&once, 1, folder, binary, extra).await
    }

    /// The same with two replicas of every service, and two gateways.
    pub async fn start_all_twice(folder: PathBuf, binary: PathBuf, extra: &[(&str, &str)]) -> Self {
        let twice = NAMES.map(|service| (service, 2));
        Self::of_replicas(&twice, 2, folder, binary, extra).await
    }

    async fn of_replicas(
        services: &[(&'static str, usize)],
        gateways: usize,
        folder: PathBuf,
        binary: PathBuf,
        extra: &[(&str, &str)],
    ) -> Self {
        let servers = Servers::start().await;
        let mut settings = common(&servers);
        let given = extra
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.extend(given);
        let provider = free_port();
        settings.push((
            "WINGBEAT_PROVIDER".into(),
            format!("http://127.0.0.1:{provider}"),
        ));
        let mut places = Vec::new();
        for &(service, replicas) in services {
            let ports: Vec<u16> = (0..replicas).map(|_| free_port()).collect();
            let urls: Vec<String> = ports
                .iter()
                .map(|port| format!("http://127.0.0.1:{port}"))
                .collect();
            settings.push((
                format!("WINGBEAT_URL_{}", service.to_uppercase()),
                urls.join(","),
            ));
            places.extend(ports.into_iter().map(|port| (service, port)));
        }
        places.insert(0, ("provider", provider));
        places.extend((0..gateways).map(|_| ("gateway", free_port())));
        let member = |(service, port)| member(service, port, &folder, &binary, &settings);
        let mut fleet = Self {
            members: places.into_iter().map(member).collect(),
            servers,
            folder: folder.clone(),
            crashed: Vec::new(),
        };
        for member in &mut fleet.members {
            member.start();
        }
        fleet.ready().await;
        stock::heard_of(&fleet).await;
        fleet
    }

    /// Starts what has ended by itself. A process that finds a server away at its start ends with 2.
    pub fn revive(&mut self) {
        for member in &mut self.members {
            if let Some(status) = member.revive()
                && status.code() != Some(2)
            {
                self.crashed
                    .push(format!("{} ended by itself: {status}", member.service));
            }
        }
    }

    /// Waits until every process is ready.
    pub async fn ready(&mut self) {
        let until = Instant::now() + READY_WITHIN;
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            if member.service == "provider" {
                continue;
            }
            let shop = Shop::at(&format!("http://127.0.0.1:{}", member.port)).unwrap();
            loop {
                let answer = shop.ask(&Call::get("/readyz")).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    break;
                }
                if let Some(status) = member.revive() {
                    let ended = format!("{} ended by itself: {status}", member.service);
                    self.crashed
                        .extend((status.code() != Some(2)).then_some(ended));
                }
                let log = self.folder.display();
                assert!(
                    Instant::now() < until,
                    "{} is not ready: see {log}",
                    member.service
                );
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// The gateway's URL.
    #[must_use]
    pub fn url(&self) -> String {
        let gateway = self.members.last().unwrap();
        format!("http://127.0.0.1:{}", gateway.port)
    }

    /// The shop, through its gateway.
    #[must_use]
    pub fn shop(&self) -> Shop {
        Shop::at(&self.url()).unwrap()
    }

    /// The replicas of a service.
    pub fn of(&mut self, service: &str) -> Vec<&mut Member> {
        self.members
            .iter_mut()
            .filter(|it| it.service == service)
            .collect()
    }
}

/// A service by itself on these servers, not started yet.
#[must_use]
pub fn alone(service: &'static str, servers: &Servers, folder: &Path, binary: &Path) -> Member {
    member(service, free_port(), folder, binary, &common(servers))
}

/// The settings that all processes have.
fn common(servers: &Servers) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = servers.settings().into();
    for (name, value) in [
        ("WINGBEAT_DEV", "on"),
        ("WINGBEAT_RATE_LIMITS", "off"),
        ("WINGBEAT_LOG", "warn"),
        ("SHOP_ADMIN_PASSWORD", PASSWORD),
    ] {
        settings.push((name.into(), value.into()));
    }
    settings
}

fn member(
    service: &'static str,
    port: u16,
    folder: &Path,
    binary: &Path,
    settings: &[(String, String)],
) -> Member {
    let (folder, binary, settings) = (folder.to_owned(), binary.to_owned(), settings.to_vec());
    let ops_port = free_port();
    let command = move || {
        let log = folder.join(format!("{service}-{port}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&binary);
        command
            .args(["run", service, "--listen", &format!("127.0.0.1:{port}")])
            .args(["--ops-listen", &format!("127.0.0.1:{ops_port}"), "--data"])
            .arg(folder.join(service))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        command
    };
    Member {
        service,
        port,
        ops_port,
        command: Box::new(command),
        child: None,
    }
}
