//! The whole shop with one process per service: orders per second until paid.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shop_client::http::Call;
use shop_client::{Order, Shop, Shopper};
use shop_registry::NAMES as SERVICES;
use tokio::task::JoinSet;
use wingbeat_servers::{Postgres, RabbitMq, Redis, free_port};

use crate::disk::Disk;
use crate::options::Options;
use crate::table::Table;

const WHAT: &str = "whole shop, distributed";
const WHO: &str = "wingbeat";
/// Shoppers; each has one request open.
const SHOPPERS: usize = 64;
/// The time limit for the start, and for the last payment.
const PATIENCE: Duration = Duration::from_secs(90);

/// The servers and processes, stopped when dropped.
struct Fleet {
    store: Postgres,
    _servers: (RabbitMq, Redis),
    processes: Vec<(&'static str, Child)>,
    shop: Shop,
    _folder: tempfile::TempDir,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            let _ = process.kill(); // It may have ended.
            let _ = process.wait();
        }
    }
}

/// Measures the shop.
pub(crate) async fn run(options: Options, table: &mut Table) {
    for _ in 0..options.runs {
        let fleet = Fleet::start().await;
        let shoppers = fleet.shop.shoppers(SHOPPERS).await.unwrap();
        let products = fleet.shop.products().await.unwrap();
        let skus: Vec<String> = products
            .into_iter()
            .filter(|it| it.available > 0)
            .map(|it| it.sku)
            .collect();
        let disk = Disk::of(&fleet.store);
        let start = Instant::now();
        let placed = place(&shoppers, &skus, start + options.load()).await;
        let accepting = start.elapsed().as_secs_f64();
        fleet.until(placed, "paid").await;
        let seconds = start.elapsed().as_secs_f64();
        table.add(WHAT, WHO, "orders/s paid", placed as f64 / seconds);
        table.add(WHAT, WHO, "orders/s accepted", placed as f64 / accepting);
        let (service, most) = fleet.largest();
        table.add(WHAT, WHO, "MB, the largest service", most);
        println!("  the largest service is {service}");
        fleet.until(placed, "completed").await;
        disk.add(&fleet.store, placed, table, WHAT).await;
    }
    let reached = table.median(WHAT, WHO, "orders/s paid").unwrap_or_default();
    table.goal(
        format!("{WHAT}: 700 orders/s paid"),
        format!("{reached:.0}"),
        reached >= 700.0,
    );
}

async fn place(shoppers: &[Shopper], skus: &[String], until: Instant) -> u64 {
    let placed = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for shopper in shoppers {
        let (shopper, skus, placed) = (shopper.clone(), skus.to_vec(), Arc::clone(&placed));
        tasks.spawn(async move {
            while Instant::now() < until {
                let number = placed.fetch_add(1, Ordering::Relaxed) as usize;
                let order = Order::of([(skus[number % skus.len()].clone(), 1)]);
                shopper
                    .place(&order, Duration::from_secs(60))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    placed.load(Ordering::Relaxed)
}

impl Fleet {
    async fn start() -> Self {
        let binary = binary();
        let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
        let folder = tempfile::tempdir().unwrap();
        let port = |_| free_port();
        let ports: Vec<u16> = (0..SERVICES.len() + 2).map(port).collect();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut env = vec![
            ("WINGBEAT_BROKER".to_owned(), broker.url()),
            ("WINGBEAT_STORE".to_owned(), store.url()),
            ("WINGBEAT_CACHE".to_owned(), cache.url()),
            ("WINGBEAT_PROVIDER".to_owned(), url(ports[SERVICES.len()])),
            ("WINGBEAT_DEV".to_owned(), "on".to_owned()),
            ("WINGBEAT_RATE_LIMITS".to_owned(), "off".to_owned()),
            ("WINGBEAT_LOG".to_owned(), "error".to_owned()),
            ("SHOP_ADMIN_PASSWORD".to_owned(), "a benchmark's".to_owned()),
        ];
        let named = SERVICES.iter().zip(&ports);
        env.extend(
            named.map(|(name, port)| (format!("WINGBEAT_URL_{}", name.to_uppercase()), url(*port))),
        );
        let all = SERVICES
            .into_iter()
            .chain(["provider", "gateway"])
            .zip(&ports);
        let start = |(name, port): (&'static str, &u16)| {
            (name, start(&binary, name, *port, folder.path(), &env))
        };
        let processes: Vec<_> = all.map(start).collect();
        let shop = Shop::at(&url(ports[SERVICES.len() + 1])).unwrap();
        let until = Instant::now() + PATIENCE;
        for (name, port) in SERVICES
            .into_iter()
            .chain(["gateway"])
            .zip(ports.iter().filter(|port| **port != ports[SERVICES.len()]))
        {
            let service = Shop::at(&url(*port)).unwrap();
            while !service
                .ask(&Call::get("/readyz"))
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                assert!(Instant::now() < until, "{name} is not ready");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Self {
            store,
            _servers: (broker, cache),
            processes,
            shop,
            _folder: folder,
        }
    }

    /// Waits until orders are `paid` or `completed`.
    async fn until(&self, orders: u64, step: &str) {
        let count = format!(
            "SELECT coalesce(sum(value), 0) FROM orders.counter
             WHERE name = 'published:orders.order_{step}.v1'"
        );
        let until = Instant::now() + PATIENCE;
        loop {
            let reached: u64 = self.store.sql(&count).trim().parse().unwrap();
            if reached >= orders {
                return;
            }
            assert!(
                Instant::now() < until,
                "{reached} of {orders} orders are {step}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the service with the most memory, and its peak in MB.
    fn largest(&self) -> (&'static str, f64) {
        let size = |(name, process): &(&'static str, Child)| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
            let status = status.unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            (*name, kib.unwrap_or_default() / 1024.0)
        };
        let services = self
            .processes
            .iter()
            .filter(|(name, _)| *name != "provider");
        services
            .map(size)
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .unwrap()
    }
}

/// Returns the release build of the shop, in the folder of this program.
fn binary() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("shop");
    assert!(
        path.exists(),
        "{} is missing: cargo build --release",
        path.display()
    );
    path
}

fn start(binary: &Path, name: &str, port: u16, folder: &Path, env: &[(String, String)]) -> Child {
    Command::new(binary)
        .args(["run", name, "--listen", &format!("127.0.0.1:{port}")])
        .args(["--ops-listen", "127.0.0.1:0", "--data"])
        .arg(folder.join(name))
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
