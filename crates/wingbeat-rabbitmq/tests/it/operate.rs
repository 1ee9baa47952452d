//! The topology in the hands of operators: queues that differ, migrations, orphaned queues.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::{
    Bench, MAIL, MAIL_PLACED, PLACED, RESERVE, RESERVING, STOCK, STOCK_PLACED, topology,
};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::{DeviationKind, Prune};
use wingbeat_core::{Class, MessageId, Name, Topology, Transport as _};
use wingbeat_rabbitmq::{Config, RabbitMq};
use wingbeat_servers::{Fault, Proxy};

use crate::conformance::{block_on, open_with, server};
use crate::topology::by_hand;
use crate::traffic::{bench, config, publish, until};

/// The topology of the tests, with another order of one queue.
fn with_order(ordered: bool) -> Topology {
    let mut topology = topology();
    topology.queues.get_mut(&RESERVING).unwrap().ordered = ordered;
    topology
}

/// The topology of the tests, with another name of one subscription.
pub(crate) fn renamed() -> Topology {
    let mut topology = topology();
    let queue = topology.queues.remove(&MAIL_PLACED).unwrap();
    topology.queues.insert(Name::new("mail.renamed"), queue);
    topology
}

/// Prunes queues with messages, too.
fn forced() -> Prune {
    Prune {
        forced: true,
        ..Prune::default()
    }
}

/// Opens the transport of another process.
pub(crate) async fn another(config: &Config) -> Arc<RabbitMq> {
    let runtime: SharedRuntime = TokioRuntime::new();
    open_with(config, &runtime).await
}

/// Takes all messages of a queue, and returns their ids in the order of their first deliveries.
async fn take_all(bench: &Bench, transport: &RabbitMq, count: usize) -> Vec<MessageId> {
    let mut consumer = None;
    let mut consume = async || {
        consumer = transport.consume(RESERVING, 100).await.ok();
        consumer.is_some()
    };
    until("the queue can be consumed", &mut consume).await;
    let mut consumer = consumer.unwrap();
    let (mut taken, mut known) = (Vec::new(), BTreeSet::new());
    while known.len() < count {
        let deliveries = bench.within(consumer.next()).await.unwrap();
        for delivery in deliveries {
            let id = delivery.envelope.as_ref().unwrap().id;
            if known.insert(id) {
                taken.push(id);
            }
            consumer.settler().acknowledge(&[delivery.tag]);
        }
    }
    taken
}

#[test]
fn other_services_work_while_a_queue_differs() {
    block_on(async {
        let config = config(server());
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{RESERVING}", config.namespace);
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let made = channel.queue_declare(name.clone().into(), durable, FieldTable::default());
        made.await.unwrap();
        let (bench, transport) = bench(&config).await;

        transport
            .check_queues(&[MAIL])
            .expect("it is not its queue");
        transport
            .ping()
            .await
            .expect("its service does not run here");
        publish(&transport, bench.messages(PLACED, 3)).await;
        let mut consumer = bench.consume(MAIL_PLACED, 10).await;
        bench.take(&mut consumer, 3).await;
        publish(&transport, bench.messages(RESERVE, 2)).await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..durable
        };
        let kept = channel.queue_declare(name.into(), passive, FieldTable::default());
        assert_eq!(kept.await.unwrap().message_count(), 2, "it is bound");

        let why = transport.check_queues(&[MAIL, STOCK]).unwrap_err();
        assert_eq!(
            (why.code(), why.class()),
            ("topology_differs", Class::Reject)
        );
        let why = transport.consume(RESERVING, 1).await.err().unwrap();
        assert_eq!(why.code(), "topology_differs");
        let why = transport.ping().await.unwrap_err();
        assert_eq!(why.code(), "topology_differs", "its service runs here");
    });
}

#[test]
fn a_queue_that_would_lose_messages_holds_back_only_its_types() {
    block_on(async {
        let config = config(server());
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{RESERVING}", config.namespace);
        let transient = QueueDeclareOptions::default();
        let made = channel.queue_declare(name.clone().into(), transient, FieldTable::default());
        made.await.unwrap();
        let (bench, transport) = bench(&config).await;
        let messages = vec![bench.message(RESERVE), bench.message(PLACED)];
        let answers = transport.publish(messages).await;
        assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
        let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        publish(&transport, vec![bench.message(RESERVE)]).await;
        bench.assert_depth(RESERVING, 1).await;
    });
}

#[test]
fn a_changed_queue_is_migrated_with_its_messages() {
    block_on(async {
        let config = config(server());
        let (bench, old) = bench(&config).await;
        let messages = bench.messages(RESERVE, 2_500);
        publish(&old, messages.clone()).await;
        let new = another(&config).await;
        let changed = with_order(true);
        let found = new.deviations(&changed).await.unwrap();
        let [found] = found.try_into().expect("one deviation");
        assert!(matches!(found.kind, DeviationKind::Changed(_)), "{found:?}");
        assert_eq!((found.waiting, found.consumers), (2_500, 0));
        assert_eq!(found.queue, format!("{}{RESERVING}", config.namespace));

        let consumer = bench.consume(RESERVING, 1).await;
        let why = new.migrate(&changed).await.unwrap_err();
        assert_eq!(why.code(), "topology_in_use");
        drop(consumer);
        let left = async || {
            let found = new.deviations(&changed).await.unwrap();
            found[0].consumers == 0
        };
        until("the consumer has left", left).await;

        let migrated = new.migrate(&changed).await.unwrap();
        assert_eq!((migrated.len(), migrated[0].messages), (1, 2_500));
        assert_eq!(new.deviations(&changed).await.unwrap(), []);
        assert_eq!(new.migrate(&changed).await.unwrap(), []);
        new.declare(&changed).await.unwrap();
        new.check_queues(&[STOCK]).unwrap();
        let taken = take_all(&bench, &new, messages.len()).await;
        let sent: Vec<_> = messages.iter().map(|message| message.id).collect();
        assert_eq!(taken, sent);
    });
}

/// A single active consumer delivers at most 2,000 messages without a prefetch.
#[test]
fn an_ordered_queue_keeps_its_order_when_its_limit_changes() {
    block_on(async {
        let mut config = config(server());
        let ordered = with_order(true);
        let old = another(&config).await;
        old.declare(&ordered).await.unwrap();
        let (bench, _) = bench(&config).await;
        let messages = bench.messages(RESERVE, 2_100);
        publish(&old, messages.clone()).await;
        config.delivery_limit += 1;
        let new = another(&config).await;
        let migrated = new.migrate(&ordered).await.unwrap();
        let reserving = format!("{}{RESERVING}", config.namespace);
        let reserving = migrated.iter().find(|it| it.queue == reserving).unwrap();
        assert_eq!(reserving.messages, 2_100);
        assert_eq!(new.deviations(&ordered).await.unwrap(), []);
        new.declare(&ordered).await.unwrap();
        let taken = take_all(&bench, &new, messages.len()).await;
        let sent: Vec<_> = messages.iter().map(|message| message.id).collect();
        assert_eq!(taken, sent);
    });
}

/// The variable that makes this program a process that migrates and is killed.
const KILLED: &str = "WINGBEAT_TEST_MIGRATION";

/// Not a test: the process that [`migrate_and_abort`] kills.
#[test]
fn the_process_that_migrates() {
    let Ok(order) = std::env::var(KILLED) else {
        return;
    };
    let mut parts = order.split(' ');
    let mut next = || parts.next().unwrap().to_owned();
    let (url, namespace, ordered, polls) = (next(), next(), next() == "true", next());
    let mut left: usize = polls.parse().unwrap();
    block_on(async move {
        let mut config = Config::new(url);
        config.namespace = namespace;
        let transport = another(&config).await;
        let topology = with_order(ordered);
        let mut migrating = transport.migrate(&topology);
        let migrated = std::future::poll_fn(|context| {
            if left == 0 {
                std::process::abort();
            }
            left -= 1;
            match migrating.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => Poll::Pending,
            }
        });
        migrated.await.unwrap();
    });
}

/// Migrates in a process that aborts after so many steps. Returns whether it finished before.
fn migrate_and_abort(config: &Config, ordered: bool, steps: usize) -> bool {
    let order = format!("{} {} {ordered} {steps}", config.url, config.namespace);
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "operate::the_process_that_migrates"])
        .env(KILLED, order)
        .output();
    let run = run.unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.code().is_none() || run.status.success(),
        "{output}"
    );
    run.status.success()
}

/// Publishes one message after the other until `ending` is set, so that their order is known. From
/// time to time it opens another transport, which declares the topology again. Returns the
/// confirmed messages in their order.
async fn traffic(config: Config, ordered: bool, ending: Arc<AtomicBool>) -> Vec<MessageId> {
    let (bench, mut transport) = bench(&config).await;
    let mut confirmed = Vec::new();
    while !ending.load(Ordering::SeqCst) {
        if confirmed.len() % 100 == 50 {
            transport = another(&config).await;
            transport.declare(&with_order(ordered)).await.unwrap();
        }
        let message = bench.message(RESERVE);
        confirmed.push(message.id);
        publish(&transport, vec![message]).await;
        // Each migration moves all of them.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    confirmed
}

/// A process is killed at many steps of a migration, until one ends. To an ordered queue nothing is
/// published meanwhile, and the order stays. No confirmed message is lost.
fn survives_kills(ordered: bool, steps: &[usize]) {
    block_on(async {
        let config = config(server());
        let old = another(&config).await;
        old.declare(&with_order(!ordered)).await.unwrap();
        let (bench, _) = bench(&config).await;
        let before = bench.messages(RESERVE, 300);
        publish(&old, before.clone()).await;
        drop(old);
        let topology = with_order(ordered);
        let ending = Arc::<AtomicBool>::default();
        let traffic =
            (!ordered).then(|| tokio::spawn(traffic(config.clone(), ordered, Arc::clone(&ending))));
        let mut is_done = false;
        for steps in steps {
            is_done = migrate_and_abort(&config, ordered, *steps);
            if is_done {
                break;
            }
            // Processes of the service may start.
            let transport = another(&config).await;
            transport.declare(&topology).await.unwrap();
        }
        while !is_done {
            is_done = migrate_and_abort(&config, ordered, usize::MAX);
        }
        ending.store(true, Ordering::SeqCst);
        let transport = another(&config).await;
        assert_eq!(transport.deviations(&topology).await.unwrap(), []);
        transport.declare(&topology).await.unwrap();
        let mut sent: Vec<_> = before.iter().map(|message| message.id).collect();
        match traffic {
            Some(traffic) => sent.extend(traffic.await.unwrap()),
            None => {
                let after = bench.messages(RESERVE, 20);
                sent.extend(after.iter().map(|message| message.id));
                publish(&transport, after).await;
            }
        }
        let mut taken = take_all(&bench, &transport, sent.len()).await;
        if !ordered {
            taken.sort_unstable();
            sent.sort_unstable();
        }
        assert_eq!(taken, sent);
    });
}

/// Messages that are published while a queue becomes ordered could overtake others.
#[test]
fn a_migration_to_an_ordered_queue_refuses_publishers() {
    block_on(async {
        let config = config(server());
        let (bench, old) = bench(&config).await;
        let before = bench.messages(RESERVE, 10);
        publish(&old, before.clone()).await;
        let ending = Arc::<AtomicBool>::default();
        let traffic = tokio::spawn(traffic(config.clone(), false, Arc::clone(&ending)));
        let new = another(&config).await;
        let changed = with_order(true);
        let why = new.migrate(&changed).await.unwrap_err();
        assert_eq!(why.code(), "topology_in_use", "{why}");
        assert!(why.to_string().contains(RESERVE), "{why}");
        ending.store(true, Ordering::SeqCst);
        let mut sent: Vec<_> = before.iter().map(|message| message.id).collect();
        sent.extend(traffic.await.unwrap());
        new.migrate(&changed).await.unwrap();
        assert_eq!(new.deviations(&changed).await.unwrap(), []);
        new.declare(&changed).await.unwrap();
        let mut taken = take_all(&bench, &new, sent.len()).await;
        taken.sort_unstable();
        sent.sort_unstable();
        assert_eq!(taken, sent);
    });
}

/// Returns the beginning of `queue.bind` or `queue.unbind` (AMQP 0-9-1, section 1.7.2).
fn binding(method: u8, queue: &str, exchange: &str) -> Vec<u8> {
    let mut frame = vec![0, 50, 0, method, 0, 0];
    for name in [queue, exchange] {
        frame.push(u8::try_from(name.len()).unwrap());
        frame.extend_from_slice(name.as_bytes());
    }
    frame
}

/// One message reaches only the queue, since the one that keeps the messages meanwhile is not yet
/// bound. The next message reaches the latter directly, before the first one is copied to it.
#[test]
fn a_migration_keeps_the_order_or_notices_what_is_published_meanwhile() {
    const BIND: u8 = 20;
    const UNBIND: u8 = 50;
    block_on(async {
        let config = config(server());
        let (bench, old) = bench(&config).await;
        let messages = bench.messages(RESERVE, 4);
        publish(&old, messages[..2].to_vec()).await;

        let proxy = Proxy::start(server().port());
        let mut through = config.clone();
        through.url = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
        let queue = format!("{}{RESERVING}", config.namespace);
        let commands = format!("{}wingbeat.commands", config.namespace);
        let aside = format!("{queue}.migrating");
        let new = another(&through).await;
        proxy.break_on(&binding(BIND, &aside, &commands), Fault::Hold);
        let migrating = tokio::spawn(async move { new.migrate(&with_order(true)).await });
        let held = async |count| {
            let has_ended = async || proxy.faults() == count || migrating.is_finished();
            until("the migration is held", has_ended).await;
        };
        held(1).await;
        assert!(!migrating.is_finished(), "it binds the other queue");
        publish(&old, messages[2..3].to_vec()).await;
        proxy.break_on(&binding(UNBIND, &queue, &commands), Fault::Hold);
        held(2).await;
        publish(&old, messages[3..].to_vec()).await;
        proxy.repair();

        let migrated = migrating.await.unwrap();
        let new = another(&config).await;
        if let Err(why) = &migrated {
            assert_eq!(why.code(), "topology_in_use", "{why}");
            new.migrate(&with_order(true)).await.unwrap();
        }
        let mut sent: Vec<_> = messages.iter().map(|message| message.id).collect();
        let mut taken = take_all(&bench, &new, sent.len()).await;
        if migrated.is_err() {
            sent.sort_unstable();
            taken.sort_unstable();
        }
        assert_eq!(taken, sent);
    });
}

#[test]
fn a_migration_to_an_ordered_queue_survives_kills() {
    survives_kills(true, &[20, 60, 100, 150, 200, 250, 300, 350, 400, 450, 500]);
}

#[test]
fn a_migration_to_a_shared_queue_survives_kills_under_traffic() {
    survives_kills(false, &[30, 60, 100, 150, 200, 250, 300]);
}

#[test]
fn an_orphaned_queue_is_reported_and_pruned() {
    block_on(async {
        let config = config(server());
        let (bench, old) = bench(&config).await;
        let renamed = renamed();
        // A stranger's queue with a name like ours.
        let (_connection, channel) = by_hand().await;
        let strangers = format!("{}mail.archive", config.namespace);
        let made = channel.queue_declare(
            strangers.clone().into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        );
        made.await.unwrap();
        let new = another(&config).await;
        new.declare(&renamed).await.unwrap();
        publish(&new, vec![bench.message(PLACED)]).await;
        let orphan = format!("{}{MAIL_PLACED}", config.namespace);
        let found = new.deviations(&renamed).await.unwrap();
        let orphaned = |queue: &str| {
            let mut found = found.iter();
            found.any(|it| it.queue == queue && it.kind == DeviationKind::Orphaned)
        };
        assert!(orphaned(&orphan), "{found:?}");
        assert!(!orphaned(&strangers), "{found:?}");
        assert!(found.iter().any(|it| it.queue == orphan && it.waiting == 1));
        // The old release still knows the queue.
        let of_old = old.deviations(&topology()).await.unwrap();
        assert!(of_old.iter().all(|it| it.queue != orphan), "{of_old:?}");

        let consumer = bench.consume(MAIL_PLACED, 1).await;
        let pruned = new.prune(&renamed, &forced()).await.unwrap();
        let result = |pruned: &[wingbeat_core::transport::Pruned]| {
            let found = pruned.iter().find(|it| it.queue == orphan);
            found.expect("it is reported").result.clone()
        };
        assert_eq!(result(&pruned), Err("it has 1 consumers".into()));
        drop(consumer);
        drop(old);
        let kept = async || {
            let pruned = new.prune(&renamed, &Prune::default()).await.unwrap();
            result(&pruned) == Err("1 messages wait in it".into())
        };
        until("the consumer has left", kept).await;
        // It was not unbound.
        publish(&new, vec![bench.message(PLACED)]).await;
        let pruned = new.prune(&renamed, &forced()).await.unwrap();
        assert_eq!(result(&pruned), Ok(2));
        assert_eq!(new.deviations(&renamed).await.unwrap(), []);
        let mut consumer = bench.consume(STOCK_PLACED, 10).await;
        bench.take(&mut consumer, 2).await;
    });
}

/// A stranger has declared a queue under the name of an orphan.
#[test]
fn a_queue_with_arguments_of_others_is_never_pruned() {
    block_on(async {
        let config = config(server());
        let (_bench, transport) = bench(&config).await;
        let renamed = renamed();
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{MAIL_PLACED}", config.namespace);
        let deleted = channel.queue_delete(name.clone().into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let made = channel.queue_declare(name.clone().into(), durable, FieldTable::default());
        made.await.unwrap();
        let pruned = transport.prune(&renamed, &forced()).await.unwrap();
        let kept = pruned.iter().find(|it| it.queue == name).unwrap();
        let why = kept.result.clone().unwrap_err();
        assert_eq!(why, "its arguments are not those of Wingbeat");
    });
}

/// Two systems share a virtual host, and so the register.
#[test]
fn queues_of_another_system_are_orphaned_only_if_their_service_is_named() {
    block_on(async {
        let config = config(server());
        let (bench, other) = bench(&config).await;
        let mut own = topology();
        own.queues.remove(&MAIL_PLACED);
        let transport = another(&config).await;
        transport.declare(&own).await.unwrap();
        publish(&other, vec![bench.message(PLACED)]).await;
        assert_eq!(transport.deviations(&own).await.unwrap(), []);
        assert_eq!(transport.prune(&own, &forced()).await.unwrap(), []);
        bench.assert_depth(MAIL_PLACED, 1).await;

        // The register still has them.
        let mail = Prune {
            services: [MAIL.to_string()].into(),
            ..forced()
        };
        let pruned = transport.prune(&own, &mail).await.unwrap();
        let deleted: Vec<_> = pruned.into_iter().map(|it| (it.queue, it.result)).collect();
        let name = |queue: &str| format!("{}{queue}", config.namespace);
        let letters = name("wingbeat.dead-letters.mail");
        let placed = name(MAIL_PLACED.as_str());
        assert_eq!(deleted, [(placed, Ok(1)), (letters, Ok(0))]);
        assert_eq!(transport.prune(&own, &mail).await.unwrap(), []);
        // Those of its own services are untouched.
        assert_eq!(transport.deviations(&own).await.unwrap(), []);
    });
}

/// The subscription was removed after its migration was interrupted.
#[test]
fn a_queue_of_an_interrupted_migration_is_orphaned_as_well() {
    block_on(async {
        let config = config(server());
        let (bench, transport) = bench(&config).await;
        let renamed = renamed();
        transport.declare(&renamed).await.unwrap();
        let (_connection, channel) = by_hand().await;
        let name = format!("{}{MAIL_PLACED}", config.namespace);
        let aside = format!("{name}.migrating");
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let made = channel.queue_declare(aside.clone().into(), durable, arguments);
        made.await.unwrap();
        let events = format!("{}wingbeat.events", config.namespace);
        let bound = channel.queue_bind(
            aside.clone().into(),
            events.into(),
            PLACED.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
        let deleted = channel.queue_delete(name.clone().into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        publish(&transport, vec![bench.message(PLACED)]).await;

        let another = another(&config).await;
        another.declare(&renamed).await.unwrap();
        let found = another.deviations(&renamed).await.unwrap();
        let found: Vec<_> = found.iter().map(|it| (&it.queue, &it.kind)).collect();
        assert_eq!(found, [(&aside, &DeviationKind::Orphaned)]);
        let pruned = another.prune(&renamed, &Prune::default()).await.unwrap();
        assert_eq!(pruned[0].result, Err("1 messages wait in it".into()));
        let pruned = another.prune(&renamed, &forced()).await.unwrap();
        assert_eq!(pruned[0].result, Ok(1));
        assert_eq!(another.prune(&renamed, &forced()).await.unwrap(), []);
    });
}
