//! A bank whose releases are rolled out and back while clients make deposits. `src/bin/bank` has
//! the releases.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use shop_client::Shop;
use shop_client::http::Call;
use tempfile::TempDir;

use crate::balancer::Balancer;
use crate::group::Group;
use crate::member::Member;
use crate::process::free_port;
use crate::servers::Servers;
use crate::site::Site;
use crate::wait::{check, until};

mod checks;
mod traffic;

pub use traffic::{ACCOUNTS, Counts, Record, Traffic};

/// The services of the bank, each of which runs twice.
const SERVICES: [&str; 3] = ["bank", "statements", "receipts"];
const REPLICAS: usize = 2;
/// The time for which a process that ends still answers: many times what clients need to notice.
const DRAIN_DELAY: &str = "3s";

/// One process.
struct Replica {
    member: Member,
    /// The release that it runs when it is started next.
    release: Arc<Mutex<&'static str>>,
}

/// Two replicas of each service of the bank.
pub struct Evolving {
    replicas: Vec<Replica>,
    /// One balancer for each service.
    balancers: Vec<Arc<Balancer>>,
    program: PathBuf,
    settings: Vec<(String, String)>,
    release: &'static str,
    /// What clients did so far.
    pub record: Arc<Record>,
    _folder: TempDir,
    _servers: Servers,
}

impl Evolving {
    /// Starts all processes with a release.
    ///
    /// # Panics
    ///
    /// Panics if one does not start, as all methods do when something but the bank fails.
    pub async fn start(program: &Path, release: &'static str) -> Self {
        let servers = Servers::shared().await;
        let folder = tempfile::tempdir().unwrap();
        let group = Arc::new(Group::new(folder.path()));
        let settings = Vec::from(servers.settings());
        let all = SERVICES.iter().flat_map(|it| [*it; REPLICAS]);
        let replicas: Vec<Replica> = all
            .map(|service| replica(program, service, release, folder.path(), &settings, &group))
            .collect();
        let mut bank = Self {
            replicas,
            balancers: Vec::new(),
            program: program.to_owned(),
            settings,
            release,
            record: Arc::default(),
            _folder: folder,
            _servers: servers,
        };
        bank.replicas.iter_mut().for_each(|it| it.member.start());
        bank.ready().await;
        for service in SERVICES {
            let ports = bank.ports(service);
            let balancer = Balancer::to(&ports).await;
            for port in ports {
                balancer.sends_to(port, true).await;
            }
            bank.balancers.push(Arc::new(balancer));
        }
        bank
    }

    /// Replaces every process by one of another release: the first replicas of all services, then
    /// the second ones. Deposits are made on each account after both.
    pub async fn replace_all(&mut self, release: &'static str, traffic: &Traffic) {
        for nth in 0..REPLICAS {
            self.replace(nth, release).await;
            traffic.makes_deposits().await;
        }
    }

    /// Replaces one replica of each service by one of another release.
    pub async fn replace(&mut self, nth: usize, release: &'static str) {
        let wave = || (0..SERVICES.len()).map(move |at| (at, at * REPLICAS + nth));
        for (_, at) in wave() {
            self.replicas[at].member.signal("-TERM");
        }
        for (service, at) in wave() {
            let Replica {
                member,
                release: next,
            } = &mut self.replicas[at];
            self.balancers[service].sends_to(member.port, false).await;
            let status = member.exit().await;
            assert!(status.success(), "{member} ended with {status}");
            *next.lock().unwrap() = release;
            member.start();
        }
        self.ready().await;
        for (service, at) in wave() {
            let port = self.replicas[at].member.port;
            self.balancers[service].sends_to(port, true).await;
        }
        self.release = release;
    }

    /// Waits until the list of accounts can be sorted by the column of the second release.
    pub async fn rebuilt(&self) {
        for port in self.ports("bank") {
            let shop = Shop::at(&url(port)).unwrap();
            until("the new column is complete", async || {
                let answer = shop.ask(&Call::get("/accounts/by-largest")).await;
                let answer = answer.map_err(|why| why.to_string())?;
                check(answer.status == 200, answer.status)
            })
            .await;
        }
    }

    async fn ready(&mut self) {
        for replica in &mut self.replicas {
            let crashes = replica.member.ready().await;
            assert!(crashes.is_empty(), "{}: {crashes:?}", replica.member);
        }
    }

    fn ports(&self, service: &str) -> Vec<u16> {
        let members = self.replicas.iter().map(|it| &it.member);
        let members = members.filter(|it| it.runs(service));
        members.map(|it| it.port).collect()
    }

    /// The service behind its balancer.
    fn service(&self, name: &str) -> Shop {
        let at = SERVICES.iter().position(|it| *it == name).unwrap();
        self.balancers[at].shop()
    }

    fn site(&self) -> Site {
        Site {
            shop: self.service("bank"),
            password: String::new(),
            ops_ports: self.replicas.iter().map(|it| it.member.ops_port).collect(),
        }
    }

    /// Runs a command of a release beside the processes. Returns whether it succeeded, and what it
    /// printed.
    pub async fn command(&self, release: &'static str, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env("WINGBEAT_RELEASE", release);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.success(), text)
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn replica(
    program: &Path,
    service: &'static str,
    release: &'static str,
    folder: &Path,
    settings: &[(String, String)],
    group: &Arc<Group>,
) -> Replica {
    let (port, ops_port) = (free_port(), free_port());
    let log = folder.join(format!("{service}-{port}.log"));
    let release = Arc::new(Mutex::new(release));
    let arguments = [
        "run".to_owned(),
        service.to_owned(),
        "--listen".to_owned(),
        format!("127.0.0.1:{port}"),
        "--ops-listen".to_owned(),
        format!("127.0.0.1:{ops_port}"),
        "--drain-delay".to_owned(),
        DRAIN_DELAY.to_owned(),
        "--log".to_owned(),
        "warn".to_owned(),
    ];
    let (settings, logged, current) = (settings.to_vec(), log.clone(), Arc::clone(&release));
    let group = Arc::clone(group);
    let command = move |program: &Path| {
        let logged = File::options().create(true).append(true).open(&logged);
        let mut command = Command::new(program);
        command
            .args(&arguments)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("WINGBEAT_RELEASE", *current.lock().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(logged.unwrap()));
        group.join(&mut command);
        command
    };
    let member = Member {
        roles: vec![service],
        port,
        ops_port,
        log,
        binary: program.to_owned(),
        command: Arc::new(command),
        child: None,
    };
    Replica { member, release }
}
