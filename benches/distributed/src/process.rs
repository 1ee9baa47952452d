//! Starts the processes that the benchmark measures, and reads their processor time and memory.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::protocol::WORKER;

/// The time limit for a line from a process.
const PATIENCE: Duration = Duration::from_secs(120);
/// Clock ticks a second in /proc (USER_HZ, fixed on Linux).
const TICKS: f64 = 100.0;

/// A running process, killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a worker of this program and waits until it is ready.
    pub(crate) async fn worker(args: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(WORKER).args(args);
        Self::start(args.join(" "), command).await
    }

    /// Starts a program and waits until it is ready.
    async fn start(name: String, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self {
            name,
            child,
            input,
            output,
        };
        let first = process.line().await;
        assert_eq!(first, "ready", "the first line of {}", process.name);
        process
    }

    /// Sends a command.
    pub(crate) async fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        match tokio::time::timeout(PATIENCE, self.output.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("{} sends no line: {other:?}", self.name),
        }
    }

    /// Waits for the answer of the process.
    pub(crate) async fn answer(&mut self) -> Value {
        let line = self.line().await;
        let read = serde_json::from_str(&line);
        read.unwrap_or_else(|error| panic!("{} answers {line:?}: {error}", self.name))
    }

    /// Returns the processor seconds that the process has used.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name may contain any character; fields 3 and on of proc(5) follow it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
        let ticks = |place: usize| fields.get(place).and_then(|it| it.parse::<f64>().ok());
        (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / TICKS
    }

    /// Returns the peak of resident memory, in MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// Returns the processor seconds of all processes whose command line or environment contains this
/// word, and of their children, since they started.
pub(crate) fn server_cpu(word: &str) -> f64 {
    let mut ours = Vec::new();
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|id| id.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].concat();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        if text.contains(word) {
            ours.push(id);
        }
        all.push((id, stat));
    }
    let fields = |stat: &str| -> Vec<f64> {
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace()
            .skip(1)
            .map(|it| it.parse().unwrap_or_default())
            .collect()
    };
    // proc(5): the parent, user and system time, and those of children that have ended.
    let ticks = |(id, stat): &(u32, String)| {
        let fields = fields(stat);
        let parent = fields.first().copied().unwrap_or_default() as u32;
        let own: f64 = fields.iter().skip(10).take(2).sum();
        let ended: f64 = fields.iter().skip(12).take(2).sum();
        match (ours.contains(id), ours.contains(&parent)) {
            (true, _) => own + ended,
            (false, true) => own,
            _ => 0.0,
        }
    };
    all.iter().map(ticks).sum::<f64>() / TICKS
}

/// Starts a program of `benches/peers` and waits until it is ready.
pub(crate) async fn peer(folder: &str, program: &str, args: &[&str]) -> Process {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers");
    let path = path.join(folder);
    assert!(
        path.join("node_modules").exists(),
        "{} has no packages: run `npm ci` there once",
        path.display()
    );
    let mut command = Command::new("node");
    command
        .arg(path.join(program))
        .args(args)
        .env("NODE_ENV", "production");
    Process::start(format!("{folder} {}", args.join(" ")), command).await
}
