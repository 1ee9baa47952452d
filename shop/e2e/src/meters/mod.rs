//! Replicas of a service whose only subscription is partitioned, for chaos beside the shop: they
//! are killed and come back with another number of partitions while readings of meters arrive. The
//! readings of each meter must then be handled once each, and in their order.
//!
//! The shop itself needs no order between messages, so it has no such subscription. The program
//! `meters` is the service; [`Meters`] runs it.

mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use http::Method;
use shop_client::Shop;
use shop_client::http::Call;
use tokio::task::JoinSet;
use wingbeat::TokioRuntime;
use wingbeat::ports::{Transport as _, published_by};
use wingbeat_rabbitmq::{Config, RabbitMq};

use crate::fleet;
use crate::member::{CANNOT_START, Member};
use crate::process::built;
use crate::servers::Servers;
use crate::wait::{PAUSE, within_bound};
pub use service::{OwnSettings, service};

const METERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const REPLICAS: usize = 3;
/// The numbers of partitions that replicas start with.
const SIZES: [&str; 4] = ["1", "2", "3", "5"];

/// The replicas, and the readings that were published.
pub struct Meters {
    members: Vec<Member>,
    /// Publishes the readings of one meter each. Returns how many the broker has confirmed.
    publishers: JoinSet<(&'static str, u32)>,
    stop: Arc<AtomicBool>,
    rng: Rng,
    crashed: Vec<String>,
}

impl Meters {
    /// Starts the replicas on these servers, and begins to publish. Logs are in the folder.
    pub async fn start(seed: u64, servers: &Servers, folder: &Path) -> Self {
        let mut meters = Self::replicas(servers, folder, &[]).await;
        meters.rng = Rng::with_seed(seed);
        meters.publish(servers, Duration::from_millis(100)).await;
        meters
    }

    /// Starts the replicas with these settings.
    pub async fn replicas(servers: &Servers, folder: &Path, env: &[(&str, &str)]) -> Self {
        let member = |_| fleet::program(program(), "meters", servers, folder);
        let mut members: Vec<Member> = (0..REPLICAS).map(member).collect();
        for member in &mut members {
            member.start_with(env);
        }
        let mut meters = Self {
            members,
            publishers: JoinSet::new(),
            stop: Arc::default(),
            rng: Rng::with_seed(0),
            crashed: Vec::new(),
        };
        meters.ready().await;
        meters
    }

    /// Begins to publish, with this pause between two readings of a meter.
    pub async fn publish(&mut self, servers: &Servers, pause: Duration) {
        let runtime = TokioRuntime::new();
        let config = Config::new(servers.broker_at(servers.to_broker.port()));
        let transport = RabbitMq::connect(&config, runtime.clone()).await.unwrap();
        for meter in METERS {
            let (transport, runtime) = (Arc::clone(&transport), runtime.clone());
            let stop = Arc::clone(&self.stop);
            self.publishers.spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Acquire) {
                    let meter = meter.to_owned();
                    let reading = service::MeterRead { meter, number };
                    let message = published_by("elsewhere", &reading, &*runtime);
                    // One at a time: a broker that is down must not change their order.
                    while transport.publish(vec![message.clone()]).await[0].is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                    number += 1;
                    tokio::time::sleep(pause).await;
                }
                (meter, number)
            });
        }
    }

    async fn ready(&mut self) {
        for member in &mut self.members {
            let crashes = member.ready().await;
            let crashes = crashes
                .iter()
                .map(|status| format!("{member} ended with {status}"));
            self.crashed.extend(crashes);
        }
    }

    /// Disturbs a replica. Returns what was done.
    pub async fn disturb(&mut self) -> String {
        for member in &mut self.members {
            if let Some(status) = member.revive() {
                self.crashed.push(format!("{member} ended with {status}"));
            }
        }
        let at = self.rng.usize(0..REPLICAS);
        let (size, pause) = (*self.rng.choice(&SIZES).unwrap(), self.rng.u64(50..1500));
        let kind = self.rng.u8(0..4);
        let wait = tokio::time::sleep(Duration::from_millis(pause));
        let member = &mut self.members[at];
        match kind {
            0 => {
                member.signal("-STOP");
                wait.await;
                member.signal("-CONT");
                format!("{member} paused for {pause} ms")
            }
            1 => {
                self.restart(at, size).await;
                format!(
                    "{} terminated, back with {size} partitions",
                    self.members[at]
                )
            }
            _ => {
                member.kill();
                wait.await;
                member.start_with(&[("WINGBEAT_PARTITIONS", size)]);
                format!("kill -9 {member}, back after {pause} ms with {size} partitions")
            }
        }
    }

    /// Terminates a replica, and starts it with another number of partitions.
    pub async fn restart(&mut self, at: usize, partitions: &str) {
        let member = &mut self.members[at];
        let status = member.terminate().await;
        if !status.success() && status.code() != Some(CANNOT_START) {
            let text = format!("{member} was terminated and ended with {status}");
            self.crashed.push(text);
        }
        member.start_with(&[("WINGBEAT_PARTITIONS", partitions)]);
    }

    /// Waits until so many readings of each meter were handled.
    ///
    /// # Errors
    ///
    /// Says how many were, if there are never enough.
    pub async fn handled(&self, count: usize) -> Result<(), String> {
        within_bound(async || {
            for meter in METERS {
                let handled = self.log(meter).await?.len();
                if handled < count {
                    return Err(format!("{handled} of {count} readings of {meter}"));
                }
            }
            Ok(())
        })
        .await
    }

    /// Stops to publish, lets everything be handled, and returns broken promises.
    pub async fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Release);
        self.ready().await;
        let mut broken = std::mem::take(&mut self.crashed);
        while let Some(published) = self.publishers.join_next().await {
            let (meter, count) = published.unwrap();
            broken.extend(self.compared(meter, count).await.err());
        }
        broken
    }

    async fn compared(&self, meter: &str, count: u32) -> Result<(), String> {
        let right: Vec<u32> = (0..count).collect();
        let mut log = Vec::new();
        let all = within_bound(async || {
            log = self.log(meter).await?;
            if log.len() < right.len() {
                return Err(format!("{} of {count} readings of {meter}", log.len()));
            }
            Ok(())
        });
        all.await?;
        if log == right {
            return Ok(());
        }
        let at = log.iter().zip(&right).take_while(|(a, b)| a == b).count();
        let end = log.len().min(at + 5);
        Err(format!(
            "{meter}: readings {:?} at position {at}",
            &log[at..end]
        ))
    }

    /// The readings of a meter in the order in which they were handled.
    async fn log(&self, meter: &str) -> Result<Vec<u32>, String> {
        let member = &self.members[0];
        let shop = Shop::at(&format!("http://127.0.0.1:{}", member.port)).unwrap();
        let path = format!("/meters/{meter}");
        let answer = shop.ask(&Call::get(&path)).await;
        let answer = answer.map_err(|why| why.to_string())?;
        let log = answer.json(Method::GET, &path);
        log.map_err(|why| why.to_string())
    }
}

/// The program. The build with every feature contains it, and can lack a mechanism.
fn program() -> PathBuf {
    built("debug/meters", "cargo build --workspace --all-features")
}
