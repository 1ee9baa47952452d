//! The register of queues does not reply, or RabbitMQ closes the connection on which it is read.

use std::time::{Duration, Instant};

use wingbeat_core::Transport as _;
use wingbeat_core::conformance::{RESERVE, RESERVING, delivered, ids, topology};
use wingbeat_core::transport::{DeviationKind, Prune};
use wingbeat_rabbitmq::Config;
use wingbeat_servers::{Fault, Proxy};

use crate::conformance::{block_on, server};
use crate::operate::{another, renamed};
use crate::traffic::{bench, config, publish, until};

/// Starts a proxy that breaks each connection on which the register is read.
fn without_register(fault: Fault) -> (Proxy, Config) {
    let proxy = Proxy::start(server().port());
    let mut config = config(server());
    config.url = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
    let queue = format!("{}wingbeat.topology", config.namespace);
    // `basic.get` (AMQP 0-9-1, section 1.8.3) of the queue.
    let mut get = vec![0, 60, 0, 70, 0, 0, u8::try_from(queue.len()).unwrap()];
    get.extend_from_slice(queue.as_bytes());
    proxy.break_on(&get, fault);
    (proxy, config)
}

/// RabbitMQ closes the connection if the leader of the queue does not reply in time.
#[test]
fn consumers_go_on_when_the_connection_that_reads_the_register_is_closed() {
    block_on(async {
        let (proxy, config) = without_register(Fault::Close);
        let (bench, transport) = bench(&config).await;
        assert!(proxy.faults() > 0, "it was read");
        let mut consumer = bench.consume(RESERVING, 10).await;
        let messages = bench.messages(RESERVE, 2);
        publish(&transport, messages[..1].to_vec()).await;
        let mut taken = bench.take(&mut consumer, 1).await;

        let before = proxy.faults();
        transport.declare(&topology()).await.unwrap();
        let prune = Prune::default();
        let codes = [
            transport.deviations(&topology()).await.unwrap_err().code(),
            transport.migrate(&topology()).await.unwrap_err().code(),
            transport
                .prune(&topology(), &prune)
                .await
                .unwrap_err()
                .code(),
        ];
        assert_eq!(codes, ["broker_unavailable"; 3]);
        assert!(proxy.faults() >= before + 4, "each reads it");

        publish(&transport, messages[1..].to_vec()).await;
        taken.extend(bench.take(&mut consumer, 1).await);
        assert_eq!(delivered(&taken), ids(&messages));
        let tags: Vec<_> = taken.iter().map(|delivery| delivery.tag).collect();
        consumer.settler().acknowledge(&tags);
        bench.assert_depth(RESERVING, 0).await;
    });
}

#[test]
fn a_process_starts_without_the_register_and_writes_it_later() {
    block_on(async {
        let (proxy, config) = without_register(Fault::Silence);
        let start = Instant::now();
        let (_bench, _transport) = bench(&config).await;
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it is not awaited"
        );
        assert!(proxy.faults() > 0, "it was read");
        proxy.repair();
        let operator = another(&config).await;
        let is_written = async || {
            let found = operator.deviations(&renamed()).await.unwrap();
            found.iter().any(|it| it.kind == DeviationKind::Orphaned)
        };
        until("the queues are registered", is_written).await;
    });
}
