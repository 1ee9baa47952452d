//! Replicas of an ordered subscription: one is active, and the order survives its death.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::{App, Handler as _, Result, Service, Table};

use crate::conformance::{block_on, server};
use crate::traffic::{config, publish};
use crate::world::{Log, MeterRead, World, keep};

const READINGS: u32 = 200;
const METERS: [&str; 3] = ["a", "b", "c"];

/// Slow enough that a process dies with many deliveries in flight.
async fn keep_slowly(event: MeterRead, logs: Table<Log>) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(40)).await;
    keep(event, logs).await
}

fn app() -> App {
    App::new().service(Service::new("meters").on(keep_slowly.named("read").ordered()))
}

async fn send_all(world: Arc<World>) {
    let publisher = world.start(App::new()).await;
    for number in 0..READINGS {
        let readings = METERS.map(|meter| {
            world.message(&MeterRead {
                meter: meter.into(),
                number,
            })
        });
        publish(&publisher.transport, readings.into()).await;
    }
}

#[test]
fn the_next_replica_continues_in_order_when_one_dies() {
    block_on(async {
        let world = Arc::new(World::new(config(server())));
        let mut first = world.start(app()).await;
        let mut second = world.start(app()).await;
        let sending = tokio::spawn(send_all(Arc::clone(&world)));
        for kept in [20, 80, 140] {
            first.until_kept("a", kept).await;
            first.tasks.kill().await;
            drop(first);
            first = second;
            second = world.start(app()).await;
        }
        sending.await.unwrap();
        for meter in METERS {
            first.until_kept(meter, READINGS as usize).await;
            let kept = first.log(meter).await.numbers;
            assert_eq!(kept, (0..READINGS).collect::<Vec<_>>(), "of {meter}");
        }
    });
}
