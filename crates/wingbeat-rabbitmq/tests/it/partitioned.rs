//! Replicas of a subscription with partitions, on a real RabbitMQ.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wingbeat::{App, Handler as _, Result, Scope, Service, Table};

use crate::conformance::{block_on, server};
use crate::traffic::{config, publish};
use crate::world::{Log, MeterRead, World, keep};

const READINGS: u32 = 120;
const METERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The replicas that have handled something.
type Workers = Arc<Mutex<BTreeSet<u32>>>;

/// A replica. Its handler is slow enough that it dies with many deliveries in flight.
fn app(replica: u32, partitions: u32, workers: &Workers) -> App {
    let workers = Arc::clone(workers);
    let keep_slowly = move |event: MeterRead, scope: Scope, logs: Table<Log>| {
        let workers = Arc::clone(&workers);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = scope.now();
            workers.lock().unwrap().insert(replica);
            keep(event, logs).await as Result<()>
        }
    };
    let handler = keep_slowly.named("read").partitioned(partitions);
    App::new().service(Service::new("meters").on(handler))
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn three_replicas_keep_the_order_while_one_dies_and_the_partitions_grow() {
    block_on(async {
        let world = Arc::new(World::new(config(server())));
        let workers = Workers::default();
        let mut replicas = Vec::new();
        for number in 0..3 {
            replicas.push(world.start(app(number, 2, &workers)).await);
        }
        let sending = tokio::spawn(send_all(Arc::clone(&world)));
        replicas[0].until_kept("a", 20).await;
        replicas[1].tasks.kill().await;
        replicas[1] = world.start(app(1, 4, &workers)).await;
        replicas[0].until_kept("a", 40).await;
        for at in [0, 2] {
            replicas[at].running.drain().await;
            replicas[at].tasks.kill().await;
            replicas[at] = world.start(app(at as u32, 4, &workers)).await;
        }
        replicas[0].until_kept("a", 70).await;
        replicas[2].tasks.kill().await;
        sending.await.unwrap();
        for meter in METERS {
            replicas[0].until_kept(meter, READINGS as usize).await;
            let kept = replicas[0].log(meter).await.numbers;
            assert_eq!(kept, (0..READINGS).collect::<Vec<_>>(), "of {meter}");
        }
        assert_eq!(*workers.lock().unwrap(), [0, 1, 2].into());
        let reads = replicas[0].running.subscriptions.iter();
        assert_eq!(reads.filter(|it| it.partition_of.is_some()).count(), 4);
    });
}
