//! Processes that are measured: started, told what to do line by line, asked what they used.
//!
//! Every one, ours or a peer's, speaks the same few lines: it says `ready`; it is told `go`, and a consumer later
//! `total <messages>`; it answers with one line of JSON and waits until its input ends.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::part;

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(120);
/// Clock ticks a second in /proc (USER_HZ, fixed on Linux).
const TICKS: f64 = 100.0;

/// A process that runs; it ends with this value.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// One of our own parts, ready.
    pub(crate) async fn part(args: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(part::WORD).args(args);
        Self::start(args.join(" "), command).await
    }

    /// A program, ready.
    pub(crate) async fn start(name: String, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|why| panic!("{name} does not start: {why}"));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self {
            name,
            child,
            input,
            output,
        };
        let first = process.line().await;
        assert_eq!(first, "ready", "{} says it is ready", process.name);
        process
    }

    pub(crate) async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        match tokio::time::timeout(PATIENCE, self.output.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("{} says nothing more: {other:?}", self.name),
        }
    }

    /// Its answer.
    pub(crate) async fn answer(&mut self) -> Value {
        let line = self.line().await;
        let read = serde_json::from_str(&line);
        read.unwrap_or_else(|why| panic!("{} says {line:?}: {why}", self.name))
    }

    /// Processor seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name may contain anything; the fields after it are proc(5)'s 3 and on.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
        let ticks = |place: usize| fields.get(place).and_then(|it| it.parse::<f64>().ok());
        (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / TICKS
    }

    /// The most memory it had resident, in MB.
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

/// Processor seconds that a server has used: of all processes whose command line or environment has this word, and
/// of their children. What it used for others before is to be subtracted.
pub(crate) fn server_cpu(word: &str) -> f64 {
    let mut ours = Vec::new();
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|id| id.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let told = [read("cmdline"), read("environ")].concat();
        let told = String::from_utf8_lossy(&told).replace('\0', " ");
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        if told.contains(word) {
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
    // Of proc(5): parent, user and system time, and those of children that have ended.
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

/// A program of `benches/peers`, ready.
pub(crate) async fn peer(folder: &str, program: &str, args: &[&str]) -> Process {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers");
    let path = path.join(folder);
    assert!(
        path.join("node_modules").exists(),
        "run `npm ci` in {} once",
        path.display()
    );
    let mut command = Command::new("node");
    command
        .arg(path.join(program))
        .args(args)
        .env("NODE_ENV", "production");
    Process::start(format!("{folder} {}", args.join(" ")), command).await
}
