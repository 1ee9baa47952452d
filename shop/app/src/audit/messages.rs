//! Invariant 9: no message is lost, none is invented.

use std::collections::BTreeMap;

use wingbeat::Result;

use super::Check;
use crate::Sight;

/// A subscription's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    published: i64,
    handled: i64,
    waiting: i64,
    dead: i64,
}

pub(super) async fn check(sight: &Sight) -> Result<Check> {
    let mut check = Check::new(
        9,
        "published = handled + waiting + dead-lettered, per subscription",
    );
    let (first, second) = (read(sight).await?, read(sight).await?);
    for (queue, figures) in second {
        if first.get(&queue) != Some(&figures) {
            continue; // It moves: what was published and what was handled belong to two moments.
        }
        check.checked += 1;
        let Figures {
            published,
            handled,
            waiting,
            dead,
        } = figures;
        if published != handled + waiting + dead {
            let detail = format!(
                "{published} published, but {handled} handled + {waiting} waiting + {dead} dead"
            );
            check.broken(queue, detail);
        }
    }
    Ok(check)
}

async fn read(sight: &Sight) -> Result<BTreeMap<String, Figures>> {
    let running: Vec<_> = sight.running.clone();
    let (mut published, mut counts) = (BTreeMap::<String, i64>::new(), BTreeMap::new());
    for service in sight.services() {
        for (name, count) in sight.service(service.as_str())?.store.counters().await? {
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
            let depth = sight.ports.transport.depth(*queue).await?;
            let of = |message: &str| published.get(message).copied().unwrap_or(0);
            let of_queue = Figures {
                published: bindings.iter().map(|binding| of(binding.message)).sum(),
                handled: count("handled"),
                waiting: i64::try_from(depth + parked.get(queue).copied().unwrap_or(0))
                    .unwrap_or(i64::MAX),
                dead: count("dead"),
            };
            figures.insert(queue.to_string(), of_queue);
        }
    }
    Ok(figures)
}
