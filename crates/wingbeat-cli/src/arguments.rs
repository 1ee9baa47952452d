//! The commands and their options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::exit::Failed;

/// The lengths that a list may have.
const LIMITS: std::ops::RangeInclusive<u64> = 1..=10_000;

/// Start a Wingbeat project, and operate running apps
#[derive(Debug, Parser)]
#[command(name = "wingbeat", version, max_term_width = 100)]
pub struct Arguments {
    /// The processes to ask.
    #[command(flatten)]
    pub place: Place,
    /// Print JSON for programs instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The processes to ask, and how.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The operator's port of each process of the app; repeat it, or separate them by commas
    #[arg(
        long,
        global = true,
        env = "WINGBEAT_OPS_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9464"
    )]
    pub url: Vec<String>,
    /// A file with the operator's token; else the variable WINGBEAT_OPS_TOKEN is read
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WINGBEAT_OPS_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// The authority that signed the certificates of `https` URLs; else those of the system
    #[arg(long, global = true, value_name = "FILE", env = "WINGBEAT_TLS_CA")]
    pub tls_ca: Option<String>,
    /// The longest wait for one answer, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    pub timeout: u64,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a new project with two services and a test, which builds and passes
    New(New),
    /// Say what is wrong here and now, the most important first
    Doctor(Doctor),
    /// Show who publishes what to whom
    Graph {
        /// The form
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// List, show, retry and discard dead letters
    DeadLetters {
        /// The action
        #[command(subcommand)]
        action: Letters,
    },
    /// List dead letters by cause, and handle many of them again
    Incidents {
        /// The action
        #[command(subcommand)]
        action: Incidents,
    },
    /// List, pause, resume and limit subscriptions
    Subscriptions {
        /// The action
        #[command(subcommand)]
        action: Subscribed,
    },
    /// List and limit the outside systems that services call
    Targets {
        /// The action
        #[command(subcommand)]
        action: Targets,
    },
    /// List, pause and resume schedules
    Schedules {
        /// The action
        #[command(subcommand)]
        action: Controls,
    },
    /// Count sagas by state, or list the instances of one
    Sagas(Sagas),
    /// Show the messages, timers and calls of one correlation id, causes before effects
    Story {
        /// The correlation id
        id: String,
    },
    /// Export a recorded story, or the attempt that ended as a dead letter, and replay it on the
    /// code at hand
    Replay(Replay),
    /// Compare the queues of the broker with the subscriptions
    Topology {
        /// The action
        #[command(subcommand)]
        action: Topology,
    },
    /// Compare messages and stored data with those of an earlier release
    Contracts {
        /// The action
        #[command(subcommand)]
        action: Contracts,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The options of `new`.
#[derive(Args, Debug)]
pub struct New {
    /// The name of the project: lower-case letters, digits, `-` and `_`
    pub name: String,
    /// The directory to write; must not exist [default: the name]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Depend on the crate `wingbeat` in this directory, instead of the published one
    #[arg(long, value_name = "DIR")]
    pub wingbeat: Option<PathBuf>,
}

/// The options of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// The time between two looks, which show what grows, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub interval: f64,
    /// A service, and the number of its processes that must be ready; may be repeated
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = replicas)]
    pub replicas: Vec<(String, usize)>,
    /// Print the list of all faults that it knows
    #[arg(long)]
    pub explain: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.0..=60.0).contains(seconds));
    seconds.ok_or_else(|| "a number from 0 to 60".to_owned())
}

fn replicas(text: &str) -> Result<(String, usize), String> {
    let parts = text.split_once('=');
    let parsed = parts.and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    parsed.ok_or_else(|| "a service and a number, such as `orders=3`".to_owned())
}

/// The form of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A table
    #[default]
    Text,
    /// A flowchart in the language of Mermaid
    Mermaid,
    /// A directed graph in the language of Graphviz
    Dot,
}

/// The commands of `dead-letters`.
#[derive(Debug, Subcommand)]
pub enum Letters {
    /// List them, oldest first
    List {
        /// The largest number to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(LIMITS))]
        limit: u64,
        /// Only those of this subscription, as `service.subscription`
        #[arg(long)]
        subscription: Option<String>,
        /// Only those with this error code
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show one, with headers and body
    Show {
        /// Its id
        id: String,
    },
    /// Handle them again
    Retry {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// The reason, for the log of actions
        #[arg(long)]
        why: Option<String>,
    },
    /// Discard them
    Discard {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// The reason, for the log of actions
        #[arg(long)]
        why: Option<String>,
    },
}

/// The commands of `subscriptions`.
#[derive(Debug, Subcommand)]
pub enum Subscribed {
    /// The commands that schedules have, too
    #[command(flatten)]
    Control(Controls),
    /// Limit one in all processes; an option that is left out stands for the limit of the code
    Limit {
        /// Its limits
        #[command(flatten)]
        limits: Limits,
        /// Those that only subscriptions have
        #[command(flatten)]
        more: OfSubscription,
    },
}

/// The limits that only subscriptions have.
#[derive(Args, Debug, Default)]
pub struct OfSubscription {
    /// The handlers that each process runs for one tenant at the same time
    #[arg(long, value_name = "NUMBER")]
    pub per_tenant: Option<u64>,
    /// Which runs of its service come first where several wait
    #[arg(long, value_parser = ["high", "normal", "low"])]
    pub priority: Option<String>,
}

/// The commands of `targets`.
#[derive(Debug, Subcommand)]
pub enum Targets {
    /// List them with their circuit breakers
    List,
    /// Limit one in all processes; an option that is left out stands for the limit of the code
    Limit(Limits),
}

/// The limits of a subscription or an outside system.
#[derive(Args, Debug)]
pub struct Limits {
    /// Its service and its name
    #[arg(value_name = "SERVICE.NAME")]
    pub which: String,
    /// What each process does at the same time: handlers, or calls
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<u64>,
    /// How often all processes together start one: 50/s or 300/min
    #[arg(long)]
    pub rate: Option<String>,
}

/// The commands of `incidents`.
#[derive(Debug, Subcommand)]
pub enum Incidents {
    /// List the groups of dead letters with one cause, the largest first
    List,
    /// Show one, with its dead letters
    Show {
        /// Its service
        service: String,
        /// Its group
        group: String,
    },
    /// Handle dead letters again: a canary first, then at a bounded rate
    Retry {
        /// The service
        service: String,
        /// The dead letters
        #[command(flatten)]
        wanted: Wanted,
    },
    /// List the redrives, which `retry` begins
    Redrives,
    /// Stop a redrive
    Stop {
        /// Its service
        service: String,
        /// Its id
        id: String,
        /// The reason, for the log of actions
        #[arg(long)]
        why: Option<String>,
    },
    /// List who did what with dead letters and subscriptions, and why
    Actions,
}

/// The dead letters to handle again. Without options: all of the service.
#[derive(Args, Debug)]
pub struct Wanted {
    /// Only those of this group
    #[arg(long)]
    pub group: Option<String>,
    /// Only those of this subscription, as `service.subscription`
    #[arg(long)]
    pub subscription: Option<String>,
    /// Only those with this message type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only those with this error code
    #[arg(long)]
    pub reason: Option<String>,
    /// Only those whose message has this key
    #[arg(long)]
    pub key: Option<String>,
    /// Only those whose error message contains this text
    #[arg(long)]
    pub error: Option<String>,
    /// Only those that were retried at most this number of times
    #[arg(long, value_name = "NUMBER")]
    pub retries_max: Option<u32>,
    /// The dead letters a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// The number of failures that do not stop it; that of the canary always does
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub tolerate: u32,
    /// The reason, for the log of actions
    #[arg(long)]
    pub why: Option<String>,
}

/// The commands of `subscriptions` and `schedules`.
#[derive(Debug, Subcommand)]
pub enum Controls {
    /// List them
    List,
    /// Pause one in all processes
    Pause {
        /// Its service and its name
        #[arg(value_name = "SERVICE.NAME")]
        which: String,
    },
    /// Resume one in all processes
    Resume {
        /// Its service and its name
        #[arg(value_name = "SERVICE.NAME")]
        which: String,
    },
}

/// The options of `sagas`.
#[derive(Args, Debug)]
pub struct Sagas {
    /// The saga whose instances to list
    #[arg(value_name = "SERVICE.SAGA")]
    pub which: Option<String>,
    /// The largest number of instances to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(LIMITS))]
    pub limit: u64,
}

/// The options of `replay`.
#[derive(Args, Debug)]
pub struct Replay {
    /// The correlation id of a story, or the id of a dead letter
    pub id: String,
    /// The file to write [default: the id, with the ending .json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The program that replays it, which gets the file as its last argument: such as `-- cargo run
    /// -- replay`. Exit code 1 if it fails
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The commands of `topology`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Topology {
    /// Show how the broker differs from the subscriptions: exit code 1 if it does
    Plan,
    /// Say how the app declares its queues
    Apply,
    /// Say how the app changes its queues and keeps their messages
    Migrate,
}

/// The commands of `contracts`.
#[derive(Debug, Subcommand)]
pub enum Contracts {
    /// Exit code 1 if a message or stored data no longer fits the files of the earlier release
    Check {
        /// The directory with the files of the earlier release, which `<program> contracts` wrote
        golden: PathBuf,
        /// Compare this directory instead of the running app
        #[arg(long, value_name = "DIR")]
        with: Option<PathBuf>,
    },
}

/// Splits `service.name`. Neither part may change the path of a request.
pub(crate) fn named(which: &str) -> Result<(&str, &str), Failed> {
    let is_plain = |text: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        !text.is_empty() && text.chars().all(plain)
    };
    let parts = which.split_once('.').or_else(|| which.split_once('/'));
    let parts = parts.filter(|(service, name)| is_plain(service) && is_plain(name));
    let wrong = || Failed::local(format!("{which:?} has not the form `service.name`"));
    parts.ok_or_else(wrong)
}
