//! Invariant 9: no message is lost, and none is handled without having been published.

use std::collections::BTreeMap;

use wingbeat::Result;

use super::Check;
use wingbeat::run::RunningSystem;

/// The figures of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    /// Messages published by our services.
    published: i64,
    /// Settled messages that other programs published.
    foreign: i64,
    handled: i64,
    parked: i64,
    dead: i64,
    /// Messages in the broker's queue. The count includes messages of other programs: the broker
    /// does not distinguish them.
    waiting: i64,
}

impl Figures {
    /// Returns the imbalance, if there is one.
    fn broken(self) -> Option<String> {
        let Self {
            published,
            foreign,
            handled,
            parked,
            dead,
            waiting,
        } = self;
        let ours = handled + parked + dead - foreign;
        // Between none and all of the waiting messages are ours.
        let balanced = (ours..=ours + waiting).contains(&published);
        (!balanced).then(|| {
            format!(
                "{published} published, but {handled} handled + {parked} parked + {dead} dead \
                 - {foreign} of strangers, and {waiting} waiting"
            )
        })
    }
}

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(
        9,
        "published = handled + waiting + dead-lettered, per subscription",
    );
    let (first, second) = (read(system).await?, read(system).await?);
    for (queue, figures) in second {
        if first.get(&queue) != Some(&figures) {
            continue; // It changes between the reads, so the figures are not of one moment.
        }
        check.checked += 1;
        if let Some(detail) = figures.broken() {
            check.broken(queue, detail);
        }
    }
    Ok(check)
}

async fn read(system: &RunningSystem) -> Result<BTreeMap<String, Figures>> {
    let running: Vec<_> = system.running.clone();
    let (mut published, mut counts) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
    for service in system.services() {
        for (name, count) in system.reads(service.as_str())?.counters().await? {
            match name.as_str().strip_prefix("published:") {
                Some(message) => *published.entry(message.into()).or_default() += count,
                None => drop(counts.insert(name.as_str().to_owned(), count)),
            }
        }
    }
    let mut figures = BTreeMap::new();
    for running in &running {
        let mut parked = BTreeMap::new();
        for service in running.services() {
            parked.append(&mut running.parked(service).await?);
        }
        for (queue, bindings) in &running.topology.queues {
            let count = |what: &str| counts.get(&format!("{what}:{queue}")).copied().unwrap_or(0);
            let depth = system.ports.transport.depth(*queue).await?;
            let of = |message: &str| published.get(message).copied().unwrap_or(0);
            let of_queue = Figures {
                published: bindings
                    .bindings
                    .iter()
                    .map(|binding| of(binding.message))
                    .sum(),
                foreign: count("foreign"),
                handled: count("handled"),
                parked: signed(parked.get(queue).copied().unwrap_or(0)),
                dead: count("dead"),
                waiting: signed(depth),
            };
            figures.insert(queue.to_string(), of_queue);
        }
    }
    Ok(figures)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Figures = Figures {
        published: 10,
        foreign: 2,
        handled: 9,
        parked: 2,
        dead: 1,
        waiting: 0,
    };

    #[test]
    fn messages_of_other_programs_do_not_violate_the_invariant() {
        assert_eq!(REST.broken(), None);
        let strangers_wait = Figures { waiting: 3, ..REST };
        assert_eq!(strangers_wait.broken(), None);
    }

    #[test]
    fn lost_and_invented_messages_are_reported() {
        let lost = Figures {
            published: 11,
            ..REST
        };
        let invented = Figures {
            published: 9,
            ..REST
        };
        for figures in [lost, invented] {
            assert!(figures.broken().is_some(), "{figures:?}");
        }
        let still_there = Figures { waiting: 1, ..lost };
        assert_eq!(still_there.broken(), None);
    }
}
