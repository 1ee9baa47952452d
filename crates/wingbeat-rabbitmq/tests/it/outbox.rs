//! Messages that the broker does not confirm stay in the outbox, and do not delay others.

use std::sync::Arc;

use bytes::Bytes;
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::transport::{Binding, Queue};
use wingbeat_core::{
    Envelope, Kind, Message as _, Name, Store as _, Topology, Transport as _, Unit,
};

use crate::conformance::{block_on, server};
use crate::traffic::{config, disturb, publish, until};
use crate::world::{Archive, METERS, MeterRead, Noted, Process, Store, World, meters};

const ATTIC: Name = Name::new("attic.store");

#[test]
fn an_unroutable_message_is_listed_and_published_once_a_queue_is_bound() {
    block_on(async {
        let world = World::new(config(server()));
        let process = world.start(meters()).await;
        let asked = (0..3).map(|_| world.message(&Archive { meter: "a".into() }));
        publish(&process.transport, asked.collect()).await;
        let listed = async || {
            let listed = process.running.unroutable().await.unwrap();
            listed
                .iter()
                .map(|it| (it.kind.clone(), it.waiting))
                .collect::<Vec<_>>()
        };
        until("the type is listed", async || {
            listed().await == [(Store::NAME.to_owned(), 3)]
        })
        .await;
        // The events of the same units, and later messages, are published.
        process.until_kept("a", 3).await;
        let queue = Queue {
            bindings: vec![Binding {
                message: Store::NAME,
                kind: Kind::Command,
            }],
            ordered: false,
        };
        let topology = Topology {
            queues: [(ATTIC, queue)].into(),
        };
        process.transport.declare(&topology).await.unwrap();
        until("the type is no longer listed", async || {
            listed().await.is_empty()
        })
        .await;
        world.bench(&process).assert_depth(ATTIC, 3).await;
    });
}

/// An earlier release without a size limit may have left such a message in the outbox.
#[test]
fn a_message_that_is_too_large_leaves_the_outbox_as_a_dead_letter() {
    block_on(async {
        let world = World::new(config(server()));
        let process = world.start(meters()).await;
        let noted = Noted {
            meter: "a".into(),
            note: String::new(),
        };
        let large = Envelope {
            source: METERS.as_str().into(),
            body: Bytes::from(vec![b' '; BODY_MAX + 1]),
            ..world.message(&noted)
        };
        commit(&world, &process, vec![large]).await;
        assert_eq!(process.reasons(1).await, ["impossible"]);
        let outbox = world.model.store.outbox().unwrap();
        until("the message has left the outbox", async || {
            outbox.waiting(Noted::NAME).await.unwrap() == 0
        })
        .await;
        let letters = process.running.dead_letters(METERS).await.unwrap();
        assert_eq!(letters[0].subscription, "wb.outbox");
    });
}

async fn commit(world: &World, process: &Process, messages: Vec<Envelope>) {
    let unit = Unit {
        service: METERS,
        messages,
        ..world.bench(process).unit()
    };
    let outcomes = world.model.store.commit(Arc::new(vec![unit])).await;
    assert_eq!(outcomes.unwrap(), [wingbeat_core::unit::Outcome::Committed]);
}

#[test]
fn messages_committed_during_an_outage_are_published_afterwards() {
    disturb(|server| async move {
        let world = World::new(config(&server));
        let process = world.start(meters()).await;
        let stopping = Arc::clone(&server);
        tokio::task::spawn_blocking(move || stopping.stop())
            .await
            .unwrap();
        for number in 0..50 {
            let event = MeterRead {
                meter: "a".into(),
                number,
            };
            let message = Envelope {
                source: METERS.as_str().into(),
                ..world.message(&event)
            };
            commit(&world, &process, vec![message]).await;
        }
        // The relay has claimed all messages while the broker is unavailable.
        let outbox = world.model.store.outbox().unwrap();
        let claimed = async || {
            let now = wingbeat::Runtime::now(&*world.runtime);
            let free = outbox.claim(&[METERS], now, std::time::Duration::ZERO, 100);
            free.await.unwrap().is_empty()
        };
        until("the relay has tried to publish", claimed).await;
        let waiting = outbox.waiting(MeterRead::NAME).await.unwrap();
        let starting = Arc::clone(&server);
        tokio::task::spawn_blocking(move || starting.start_again())
            .await
            .unwrap();
        process.until_kept("a", 50).await;
        assert_eq!(waiting, 50, "no unconfirmed message has left the outbox");
        let mut numbers = process.log("a").await.numbers;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn a_message_that_is_published_twice_is_handled_once() {
    block_on(async {
        let world = World::new(config(server()));
        let process = world.start(meters()).await;
        let read = |number| {
            world.message(&MeterRead {
                meter: "a".into(),
                number,
            })
        };
        let (first, last) = (read(1), read(2));
        // A relay that ends before it deletes a confirmed message publishes it again. The last
        // message shows when all are handled.
        for message in [first.clone(), first, last] {
            publish(&process.transport, vec![message]).await;
        }
        let kept = async || process.log("a").await.numbers.contains(&2);
        until("the last reading is kept", kept).await;
        assert_eq!(process.log("a").await.numbers, [1, 2]);
    });
}
