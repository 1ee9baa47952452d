//! Partitions of a subscription on real servers, and their negative control.

use std::time::Duration;

use shop_e2e::meters::Meters;
use shop_e2e::servers::Servers;

/// The readings of each meter that are handled before and after the partitions grow.
const READINGS: usize = 20;

/// Publishes faster than two partitions handle, grows them meanwhile, and returns broken promises.
async fn grown(env: &[(&str, &str)]) -> Vec<String> {
    let servers = Servers::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let env = [env, &[("WINGBEAT_WORK", "50ms")]].concat();
    let mut meters = Meters::replicas(&servers, folder.path(), &env).await;
    meters.publish(&servers, Duration::from_millis(10)).await;
    meters.handled(READINGS).await.unwrap();
    meters.restart(0, "5").await;
    meters.handled(2 * READINGS).await.unwrap();
    meters.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_keep_the_order_while_their_partitions_grow() {
    assert_eq!(grown(&[]).await, Vec::<String>::new());
}

/// The negative control: messages overtake those that wait in another partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_the_number_of_partitions_that_are_not_empty_is_caught() {
    let broken = grown(&[("WINGBEAT_SABOTAGE", "partitions-empty")]).await;
    assert!(
        broken.iter().any(|it| it.contains("at position")),
        "{broken:?}"
    );
}
