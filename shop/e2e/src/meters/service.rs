//! The service of the program `meters`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;

/// The settings of the program.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OwnSettings {
    /// The number of partitions
    pub partitions: u32,
    /// The time that a reading takes
    pub work: Duration,
}

impl Default for OwnSettings {
    fn default() -> Self {
        Self {
            partitions: 2,
            work: Duration::ZERO,
        }
    }
}

/// A meter was read.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meters.read", version = 1, key = meter)]
pub(super) struct MeterRead {
    pub(super) meter: String,
    /// Counted from 0.
    pub(super) number: u32,
}

/// The readings of a meter, in the order in which they were handled.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Log(Vec<u32>);

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

async fn shown(Path(meter): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    let log = reads.entity::<Log>(&meter).await?;
    Ok(ok(&log.unwrap_or_default().0))
}

/// Builds the service.
#[must_use]
pub fn service(settings: &OwnSettings) -> Service {
    let work = settings.work;
    let keep = move |event: MeterRead, logs: Table<Log>| async move {
        tokio::time::sleep(work).await;
        let kept = logs.update(&event.meter, |known| {
            let mut log: Log = known.unwrap_or_default();
            log.0.push(event.number);
            log
        });
        kept.await.map(drop) as Result<()>
    };
    Service::new("meters")
        .on(keep.named("read").partitioned(settings.partitions))
        .routes(Routes::new().route("/meters/{meter}", get(shown)))
}
