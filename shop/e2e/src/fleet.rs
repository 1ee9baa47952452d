//! The shop as several processes on RabbitMQ, PostgreSQL and Redis.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use shop_client::Shop;
use tempfile::TempDir;

use crate::group::Group;
use crate::member::Member;
use crate::process::{binary, free_port};
use crate::proxy::Proxy;
use crate::servers::Servers;
use crate::site::Site;
use crate::users;

/// The admin's password in a fleet.
pub const PASSWORD: &str = "a password of a fleet";

pub use shop_registry::NAMES as SERVICES;

/// The services that run twice in a [`Plan::standard`] fleet.
const REPLICATED: [&str; 3] = ["inventory", "orders", "payments"];

/// The processes and settings of a fleet that is about to start.
pub struct Plan {
    /// The roles of each process, but for the provider, which is always one by itself.
    processes: Vec<Vec<&'static str>>,
    settings: Vec<(String, String)>,
    binary: PathBuf,
    logs: Option<PathBuf>,
    servers: Option<Servers>,
    signed: bool,
    users: bool,
    /// Ports of roles, instead of free ones.
    ports: Vec<(&'static str, u16)>,
}

impl Plan {
    fn of(processes: Vec<Vec<&'static str>>) -> Self {
        Self {
            processes,
            settings: Vec::new(),
            binary: binary(),
            logs: None,
            servers: None,
            signed: false,
            users: false,
            ports: Vec::new(),
        }
    }

    fn replicated(count: impl Fn(&str) -> usize) -> Self {
        let roles = SERVICES.into_iter().chain(["gateway"]);
        let replicas = roles.flat_map(|role| std::iter::repeat_n(vec![role], count(role)));
        Self::of(replicas.collect())
    }

    /// One process for each service and one for the gateway.
    #[must_use]
    pub fn lean() -> Self {
        Self::replicated(|_| 1)
    }

    /// As [`Self::lean`], with two replicas of inventory, orders and payments.
    #[must_use]
    pub fn standard() -> Self {
        Self::replicated(|role| if REPLICATED.contains(&role) { 2 } else { 1 })
    }

    /// Two replicas of every service and of the gateway.
    #[must_use]
    pub fn twofold() -> Self {
        Self::replicated(|_| 2)
    }

    /// So many replicas of one service, and one process for everything else: the smallest fleet in
    /// which a replica of that service can end by itself.
    #[must_use]
    pub fn around(service: &'static str, replicas: usize) -> Self {
        let others = SERVICES.into_iter().filter(|other| *other != service);
        let mut processes = vec![vec![service]; replicas];
        processes.push(others.chain(["gateway"]).collect());
        Self::of(processes)
    }

    /// Lets the first process that runs the role listen on this port.
    #[must_use]
    pub fn port_of(mut self, role: &'static str, port: u16) -> Self {
        self.ports.push((role, port));
        self
    }

    /// Sets a variable in the environment of all processes.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Lets parcels be dispatched and delivered after this time each, such as `50ms`.
    #[must_use]
    pub fn ships_after(self, time: &str) -> Self {
        self.with("WINGBEAT_SHIPPING_DISPATCH_AFTER", time)
            .with("WINGBEAT_SHIPPING_DELIVER_AFTER", time)
    }

    /// Hashes passwords at the lowest cost, for tests that sign in often and test something else.
    #[must_use]
    pub fn cheap_passwords(self) -> Self {
        self.with("WINGBEAT_PASSWORD_MEMORY_KIB", "64")
            .with("WINGBEAT_PASSWORD_PASSES", "1")
    }

    /// Lets each process sign with the keys of its own services, and refuse what is not signed.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Lets each process use its own users of RabbitMQ, PostgreSQL and Redis, on private servers.
    #[must_use]
    pub fn with_users(mut self) -> Self {
        self.users = true;
        self
    }

    /// Runs this binary instead of the one that users get.
    #[must_use]
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Keeps logs and data in this folder instead of a temporary one.
    #[must_use]
    pub fn logs_in(mut self, folder: &Path) -> Self {
        self.logs = Some(folder.to_owned());
        self
    }

    /// Runs on these servers instead of a room on the shared ones.
    #[must_use]
    pub fn on(mut self, servers: Servers) -> Self {
        self.servers = Some(servers);
        self
    }

    /// Starts the fleet and waits until it is ready and everybody knows the products that it was
    /// seeded with.
    pub async fn start(self) -> Fleet {
        let servers = match self.servers {
            Some(servers) => servers,
            None => Servers::shared().await,
        };
        let own = self.logs.is_none().then(|| tempfile::tempdir().unwrap());
        let logs = own.as_ref().map(|folder| folder.path().to_owned());
        let folder = self.logs.or(logs).unwrap();
        let mut settings = common(&servers);
        let processes = std::iter::once(vec!["provider"]).chain(self.processes);
        let mut ports = self.ports;
        let mut port = |roles: &[&str]| {
            let given = ports.iter().position(|(role, _)| roles.contains(role));
            given.map_or_else(free_port, |at| ports.remove(at).1)
        };
        let processes: Vec<_> = processes
            .map(|roles| {
                let port = port(&roles);
                (roles, port)
            })
            .collect();
        settings.extend(addresses(&processes));
        settings.extend(self.settings);
        let temporary = own.as_ref().map(TempDir::path);
        let group = Arc::new(Group::new(temporary.unwrap_or(Path::new(""))));
        let keys = self.signed.then(|| Keys::make(&self.binary, &folder));
        if self.users {
            let (broker, store, cache) = (servers.broker(), servers.store(), &servers.cache);
            tokio::task::block_in_place(|| users::install(&self.binary, broker, store, cache));
        }
        let proxies = [&servers.to_broker, &servers.to_store, &servers.to_cache];
        let ports = proxies.map(Proxy::port);
        let parts = Parts {
            keys,
            users: self.users.then_some(ports),
            binary: self.binary,
            folder: folder.clone(),
            settings,
            group,
        };
        let members = processes.into_iter();
        let mut fleet = Fleet {
            members: members
                .map(|(roles, port)| parts.member(roles, port))
                .collect(),
            servers,
            folder,
            crashed: Vec::new(),
            _own: own,
        };
        for member in &mut fleet.members {
            member.start();
        }
        fleet.ready().await;
        fleet.site().stocked().await;
        fleet
    }
}

/// The settings by which processes find each other.
fn addresses(processes: &[(Vec<&'static str>, u16)]) -> Vec<(String, String)> {
    let urls = |role: &str| {
        let replicas = processes.iter().filter(|(roles, _)| roles.contains(&role));
        let urls = replicas.map(|(_, port)| format!("http://127.0.0.1:{port}"));
        urls.collect::<Vec<_>>().join(",")
    };
    let upstream = |service: &str| {
        let name = format!("WINGBEAT_URL_{}", service.to_uppercase());
        (name, urls(service))
    };
    let provider = ("WINGBEAT_PROVIDER".to_owned(), urls("provider"));
    std::iter::once(provider)
        .chain(SERVICES.map(upstream))
        .collect()
}

/// The settings that all processes have.
fn common(servers: &Servers) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = servers.settings().into();
    for (name, value) in [
        ("WINGBEAT_DEV", "on"),
        ("WINGBEAT_RATE_LIMITS", "off"),
        ("WINGBEAT_LOG", "warn"),
        ("WINGBEAT_LOG_FORMAT", "json"),
        ("SHOP_ADMIN_PASSWORD", PASSWORD),
    ] {
        settings.push((name.into(), value.into()));
    }
    settings
}

/// The keys of all services, from which each process gets its own.
struct Keys {
    folder: PathBuf,
}

impl Keys {
    fn make(binary: &Path, folder: &Path) -> Self {
        let folder = folder.join("keys");
        let made = Command::new(binary).arg("keys").arg(&folder).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        Self { folder }
    }

    /// The settings of a process: it reads no private key but those of its roles.
    fn settings(&self, process: &str, roles: &[&str]) -> Vec<(&'static str, PathBuf)> {
        let own = self.folder.join(process);
        std::fs::create_dir_all(&own).unwrap();
        let mut settings = vec![("WINGBEAT_TRUSTED_KEYS", self.folder.join("trusted"))];
        for role in roles.iter().filter(|role| **role != "provider") {
            let key = format!("{role}.key");
            let from = self.folder.join("signing").join(&key);
            std::fs::copy(from, own.join(key)).unwrap();
            settings.truncate(1);
            settings.push(("WINGBEAT_SIGNING_KEY", own.clone()));
        }
        settings
    }
}

/// What the processes of a fleet have in common.
struct Parts {
    keys: Option<Keys>,
    /// The ports of RabbitMQ, PostgreSQL and Redis for processes with users of their own.
    users: Option<[u16; 3]>,
    binary: PathBuf,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    group: Arc<Group>,
}

impl Parts {
    fn member(&self, roles: Vec<&'static str>, port: u16) -> Member {
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let (group, ops_port, own) = (Arc::clone(&self.group), free_port(), roles.clone());
        let name = own.first().unwrap();
        let (log, data) = (folder.join(format!("{name}-{port}.log")), folder.join(name));
        let process = format!("{name}-{port}");
        let keys = self.keys.as_ref();
        let keys = keys.map(|keys| keys.settings(&process, &own));
        let users = self.users.map(|[broker, store, cache]| {
            let user = format!("{name}:{}@127.0.0.1", users::PASSWORD);
            [
                ("WINGBEAT_BROKER", format!("amqp://{user}:{broker}")),
                ("WINGBEAT_STORE", users::store_url(name, store)),
                ("WINGBEAT_CACHE", format!("redis://{user}:{cache}")),
            ]
        });
        let log_of_process = log.clone();
        let command = move |binary: &Path| {
            let mut append = File::options();
            let log = append.create(true).append(true).open(&log_of_process);
            let log = log.unwrap();
            let mut command = Command::new(binary);
            command
                .arg("run")
                .args(&own)
                .args(["--listen", &format!("127.0.0.1:{port}")])
                .args(["--ops-listen", &format!("127.0.0.1:{ops_port}"), "--data"])
                .arg(&data)
                .envs(settings.iter().map(|(name, value)| (name, value)))
                .envs(keys.iter().flatten().map(|(name, path)| (name, path)))
                .envs(users.iter().flatten().map(|(name, url)| (name, url)))
                .current_dir(&folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::from(log));
            group.join(&mut command);
            command
        };
        Member {
            roles,
            port,
            ops_port,
            log,
            binary: self.binary.clone(),
            command: Arc::new(command),
            child: None,
        }
    }
}

/// Processes and their servers. Dropping it kills them.
pub struct Fleet {
    /// The processes: first the provider, last the gateway.
    pub members: Vec<Member>,
    /// The servers.
    pub servers: Servers,
    /// Logs and data.
    pub folder: PathBuf,
    /// Processes that ended without being asked to, unless a server was unavailable at their
    /// start.
    pub crashed: Vec<String>,
    _own: Option<TempDir>,
}

impl Fleet {
    /// Starts each process that has ended.
    pub fn revive(&mut self) {
        for member in &mut self.members {
            if let Some(status) = member.revive() {
                self.crashed.push(format!("{member} ended with {status}"));
            }
        }
    }

    /// Waits until every process is ready. The provider answers no such question, and needs no
    /// start-up time.
    pub async fn ready(&mut self) {
        for member in &mut self.members {
            if !member.runs("provider") {
                let crashes = member.ready().await;
                let crashes = crashes
                    .iter()
                    .map(|status| format!("{member} ended with {status}"));
                self.crashed.extend(crashes);
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

    /// The shop and its operator's interfaces.
    #[must_use]
    pub fn site(&self) -> Site {
        let measured = self.members.iter().filter(|it| !it.runs("provider"));
        Site {
            shop: self.shop(),
            password: PASSWORD.into(),
            ops_ports: measured.map(|it| it.ops_port).collect(),
        }
    }

    /// The processes that run a role.
    pub fn of(&mut self, role: &str) -> Vec<&mut Member> {
        let members = self.members.iter_mut();
        members.filter(|it| it.runs(role)).collect()
    }

    /// The ops ports of the processes that run a role.
    #[must_use]
    pub fn ops_ports(&self, role: &str) -> Vec<u16> {
        let members = self.members.iter().filter(|it| it.runs(role));
        members.map(|it| it.ops_port).collect()
    }

    /// Ends the processes that run a role and starts them with more variables in their environment.
    pub async fn restart_with(&mut self, role: &str, env: &[(&str, &str)]) {
        for member in self.of(role) {
            let status = member.terminate().await;
            assert!(status.success(), "{member} ended with {status}");
            member.start_with(env);
        }
        self.ready().await;
    }
}

/// A service by itself on these servers, not started yet.
#[must_use]
pub fn alone(service: &'static str, servers: &Servers, folder: &Path) -> Member {
    let parts = Parts {
        keys: None,
        users: None,
        binary: binary(),
        folder: folder.to_owned(),
        settings: common(servers),
        group: Arc::new(Group::new(Path::new(""))),
    };
    parts.member(vec![service], free_port())
}

/// A service of another program on these servers, not started yet. It has no other settings.
pub(crate) fn program(
    binary: PathBuf,
    service: &'static str,
    servers: &Servers,
    folder: &Path,
) -> Member {
    let mut settings: Vec<(String, String)> = servers.settings().into();
    settings.push(("WINGBEAT_LOG".into(), "warn".into()));
    let parts = Parts {
        keys: None,
        users: None,
        binary,
        folder: folder.to_owned(),
        settings,
        group: Arc::new(Group::new(Path::new(""))),
    };
    parts.member(vec![service], free_port())
}
