//! Messages of units, and the outbox.
//!
//! The first three tests apply to every store. A store that is its own broker has no outbox, and
//! passes the others without doing anything.

use std::sync::Arc;
use std::time::Duration;

use crate::conformance::{
    A_WHILE, Bench, Fixture, LEASE, MAIL_PLACED, ORDERS, PLACED, RESERVE, RESERVING, SERVICES,
    STOCK, STOCK_PLACED, delivered, ids, read,
};
use crate::unit::Outcome;
use crate::{Envelope, Outbox, RuntimeExt as _, Unit};

/// Commits messages in one unit.
async fn send(bench: &Bench, messages: &[Envelope]) {
    let unit = Unit {
        messages: messages.to_vec(),
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
}

async fn claim(bench: &Bench, outbox: &Arc<dyn Outbox>, limit: usize) -> Vec<Envelope> {
    outbox
        .claim(&SERVICES, bench.now(), LEASE, limit)
        .await
        .expect("the store can be read")
}

/// Messages of a committed unit reach every bound queue once.
pub async fn a_unit_sends_its_messages_with_the_commit(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let (command, event) = (bench.message(RESERVE), bench.message(PLACED));
    send(&bench, &[command.clone(), event.clone()]).await;
    bench.relay().await;
    for (queue, message) in [
        (RESERVING, command),
        (STOCK_PLACED, event.clone()),
        (MAIL_PLACED, event),
    ] {
        let mut consumer = bench.consume(queue, 10).await;
        let taken = bench.take(&mut consumer, 1).await;
        assert_eq!(taken[0].envelope, Ok(message));
        bench.assert_quiet(&mut consumer).await;
    }
}

/// Stale and duplicate units send no message.
pub async fn a_refused_unit_sends_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let settles = vec![bench.settlement()];
    bench
        .commit(Unit {
            settles: settles.clone(),
            ..bench.unit()
        })
        .await;
    let stale = Unit {
        reads: vec![read("x", 9)],
        messages: bench.messages(RESERVE, 2),
        ..bench.unit()
    };
    let duplicate = Unit {
        settles,
        messages: bench.messages(RESERVE, 2),
        ..bench.unit()
    };
    let outcomes = bench.commit_all(vec![stale, duplicate]).await;
    assert_eq!(outcomes, [Outcome::Stale, Outcome::Duplicate]);
    bench.relay().await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    bench.assert_quiet(&mut consumer).await;
}

/// Submitting a unit again sends its messages only once.
pub async fn a_unit_submitted_again_sends_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let unit = Unit {
        messages: bench.messages(RESERVE, 2),
        ..bench.unit()
    };
    bench.commit(unit.clone()).await;
    bench.relay().await;
    assert_eq!(bench.commit(unit.clone()).await, Outcome::Committed);
    bench.relay().await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 2).await;
    assert_eq!(delivered(&taken), ids(&unit.messages));
    bench.assert_quiet(&mut consumer).await;
}

/// `claim` returns messages in commit order, and only those of the given services.
pub async fn the_oldest_messages_are_claimed_first(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let Some(outbox) = bench.store.outbox() else {
        return;
    };
    let messages = bench.messages(PLACED, 5);
    send(&bench, &messages[..3]).await;
    send(&bench, &messages[3..]).await;
    assert_eq!(
        outbox.waiting(PLACED).await.expect("the store can be read"),
        5
    );
    assert_eq!(
        outbox
            .waiting(RESERVE)
            .await
            .expect("the store can be read"),
        0
    );
    let others = outbox
        .claim(&[STOCK], bench.now(), LEASE, 10)
        .await
        .expect("the store can be read");
    assert_eq!(
        others,
        [],
        "`claim` returns only messages of the given services"
    );
    assert_eq!(claim(&bench, &outbox, 4).await, messages[..4]);
    let rest = outbox
        .claim(&[ORDERS], bench.now(), LEASE, 4)
        .await
        .expect("the store can be read");
    assert_eq!(rest, messages[4..]);
}

/// A message whose relay died can be claimed once the lease has passed.
pub async fn a_claimed_message_can_be_claimed_again_after_its_lease(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let Some(outbox) = bench.store.outbox() else {
        return;
    };
    let messages = bench.messages(PLACED, 2);
    send(&bench, &messages).await;
    assert_eq!(claim(&bench, &outbox, 10).await, messages);
    assert_eq!(claim(&bench, &outbox, 10).await, []);
    bench.runtime.sleep(LEASE + A_WHILE).await;
    assert_eq!(claim(&bench, &outbox, 10).await, messages);
}

/// Commits a unit with two messages and a stale unit with one, and claims the messages of the
/// first. A commit whose reply is lost returns no messages, so this repeats with new units until
/// one succeeds.
async fn claimed_with_the_commit(bench: &Bench) -> (Arc<Vec<Unit>>, Vec<Envelope>) {
    loop {
        let unit = Unit {
            messages: bench.messages(PLACED, 2),
            ..bench.unit()
        };
        let stale = Unit {
            reads: vec![read("x", 9)],
            messages: bench.messages(PLACED, 1),
            ..bench.unit()
        };
        let messages = unit.messages.clone();
        let units = Arc::new(vec![unit, stale]);
        if let Ok((outcomes, claimed)) = bench.store.commit_claiming(units.clone(), LEASE).await {
            assert_eq!(outcomes, [Outcome::Committed, Outcome::Stale]);
            assert_eq!(claimed, messages);
            return (units, messages);
        }
    }
}

/// `commit_claiming` returns new messages once, and leases them as `claim` does.
pub async fn messages_claimed_with_a_commit_are_leased(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let Some(outbox) = bench.store.outbox() else {
        return;
    };
    let (units, messages) = claimed_with_the_commit(&bench).await;
    let own = |mut claimed: Vec<Envelope>| {
        claimed.retain(|message| messages.contains(message));
        claimed
    };
    let again = loop {
        match bench.store.commit_claiming(units.clone(), LEASE).await {
            Ok((_, again)) => break again,
            Err(_) => bench.runtime.sleep(Duration::from_millis(1)).await,
        }
    };
    assert_eq!(
        again,
        [],
        "messages of an earlier commit are not returned again"
    );
    assert_eq!(own(claim(&bench, &outbox, 100).await), []);
    let released = vec![(messages[0].id, Duration::ZERO)];
    let released = outbox.release(released, bench.now()).await;
    released.expect("messages can be released");
    bench.runtime.sleep(Duration::from_millis(1)).await;
    assert_eq!(own(claim(&bench, &outbox, 100).await), messages[..1]);
    let confirmed = outbox.confirmed(vec![messages[0].id]).await;
    confirmed.expect("confirmed messages can be deleted");
    bench.runtime.sleep(LEASE + A_WHILE).await;
    assert_eq!(own(claim(&bench, &outbox, 100).await), messages[1..]);
}

/// `confirmed` deletes the given messages and is idempotent.
pub async fn only_confirmed_messages_leave_the_outbox(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let Some(outbox) = bench.store.outbox() else {
        return;
    };
    let messages = bench.messages(PLACED, 3);
    send(&bench, &messages).await;
    assert_eq!(claim(&bench, &outbox, 10).await.len(), 3);
    for _ in 0..2 {
        outbox
            .confirmed(vec![messages[1].id])
            .await
            .expect("confirmed messages can be deleted");
    }
    assert_eq!(
        outbox.waiting(PLACED).await.expect("the store can be read"),
        2
    );
    bench.runtime.sleep(LEASE + A_WHILE).await;
    assert_eq!(
        claim(&bench, &outbox, 10).await,
        [messages[0].clone(), messages[2].clone()]
    );
}

/// `release` ends the lease of the given messages after their pauses, and ignores unknown ids.
pub async fn a_released_message_can_be_claimed_after_its_pause(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let Some(outbox) = bench.store.outbox() else {
        return;
    };
    let messages = bench.messages(PLACED, 3);
    send(&bench, &messages).await;
    assert_eq!(claim(&bench, &outbox, 10).await, messages);
    let unknown = bench.runtime.id().into();
    let pauses = vec![
        (messages[0].id, Duration::ZERO),
        (messages[2].id, LEASE / 2),
        (unknown, Duration::ZERO),
    ];
    let released = outbox.release(pauses, bench.now()).await;
    released.expect("messages can be released");
    bench.runtime.sleep(Duration::from_millis(1)).await;
    assert_eq!(claim(&bench, &outbox, 10).await, messages[..1]);
    bench.runtime.sleep(LEASE / 2).await;
    assert_eq!(
        claim(&bench, &outbox, 10).await,
        messages[2..],
        "the message that was not released is still claimed"
    );
}

/// Unpublished messages survive a restart.
pub async fn the_outbox_survives_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    if bench.store.outbox().is_none() {
        return;
    }
    let messages = bench.messages(PLACED, 2);
    send(&bench, &messages).await;
    let bench = bench.reopen(&fixture).await;
    let outbox = bench.store.outbox().expect("the store has an outbox");
    assert_eq!(claim(&bench, &outbox, 10).await, messages);
}
