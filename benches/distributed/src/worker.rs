//! Runs a worker: this program as one of the processes that the benchmark measures.

use std::time::Duration;

use crate::workload::{Job, Pace};
use crate::{client, handler, path};

/// Runs the worker that the arguments name.
pub(crate) async fn run(args: Vec<String>) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["produce", client, broker, store, queue, seconds, rate] => {
            let pace = Pace {
                time: Duration::from_secs_f64(seconds.parse().unwrap()),
                rate: rate.parse().unwrap(),
            };
            client::produce(client, &Job::new(broker, store, queue), pace).await;
        }
        ["consume", client, broker, store, queue] => {
            client::consume(client, &Job::new(broker, store, queue)).await;
        }
        ["handler", broker, store, keys, messages] => {
            let (keys, messages) = (keys.parse().unwrap(), messages.parse().unwrap());
            handler::worker(broker, store, keys, messages).await;
        }
        ["path", service, broker, store] => path::worker(service, broker, store).await,
        _ => panic!("no worker {args:?}"),
    }
}
