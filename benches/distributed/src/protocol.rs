//! The lines between the benchmark and the processes that it measures.
//!
//! A process prints `ready` and waits for `go`. A consumer also waits for `total <messages>`. The
//! process answers with one line of JSON and runs until its standard input ends. Programs of
//! `benches/peers` speak the same protocol.

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// The first argument of a worker, which is this program started as a process to be measured.
pub(crate) const WORKER: &str = "worker";

/// The benchmark's commands to this worker.
pub(crate) struct Commands {
    lines: Lines<BufReader<Stdin>>,
}

impl Commands {
    /// Reports that the worker is ready and waits for the start.
    pub(crate) async fn start() -> Self {
        println!("ready");
        let lines = BufReader::new(tokio::io::stdin()).lines();
        let mut commands = Self { lines };
        commands.next("go").await;
        commands
    }

    /// Waits for the next command, which begins with this word, and returns its argument.
    pub(crate) async fn next(&mut self, word: &str) -> String {
        let line = self.lines.next_line().await.unwrap();
        let Some(line) = line else {
            std::process::exit(0); // The benchmark has ended.
        };
        let rest = line.strip_prefix(word);
        rest.unwrap_or_else(|| panic!("{line:?} instead of {word}"))
            .trim()
            .to_owned()
    }

    /// Waits for the end of the commands and exits.
    pub(crate) async fn end(&mut self) {
        while let Ok(Some(_)) = self.lines.next_line().await {}
        std::process::exit(0);
    }
}

/// Sends an answer to the benchmark.
pub(crate) fn answer(answer: &impl Serialize) {
    println!("{}", serde_json::to_string(answer).unwrap());
}
