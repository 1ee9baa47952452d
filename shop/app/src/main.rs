//! The `shop` program.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shop::settings::Sources;
use shop::simulate::{self, SimulateArgs};
use shop::{Cast, Settings, logs};
use shop_client::audit::{self, AuditArgs};
use shop_client::traffic::{self, TrafficArgs};

/// Half the work of a handler is making and dropping small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of a shop that cannot open.
const CANNOT: u8 = 2;

/// An online shop of ten services that talk through events, all in one process.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    tool: Option<Tool>,
}

/// Settings, each also as a variable and a key of the file.
#[derive(clap::Args)]
struct Flags {
    /// The public address [default: 127.0.0.1:8080] [env: WINGBEAT_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The data directory [default: ./data] [env: WINGBEAT_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The address of /metrics [default: 127.0.0.1:9464] [env: WINGBEAT_OPS_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// RabbitMQ, `amqp://…`; together with --store and --cache [env: WINGBEAT_BROKER]
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// PostgreSQL, `postgres://…` [env: WINGBEAT_STORE]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Redis, `redis://…` [env: WINGBEAT_CACHE]
    #[arg(long, value_name = "URL")]
    cache: Option<String>,
    /// The payment provider, instead of the stand-in [env: WINGBEAT_PROVIDER]
    #[arg(long, value_name = "URL")]
    provider: Option<String>,
    /// The stand-ins and /dev, for services that run by themselves [env: WINGBEAT_DEV]
    #[arg(long)]
    dev: bool,
    /// What is logged, such as `info` or `wingbeat=debug,info` [default: info] [env: WINGBEAT_LOG]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look: text or json [default: text] [env: WINGBEAT_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// A collector of OpenTelemetry, `http://host:4318`, if built with the feature `otlp` [env: WINGBEAT_OTLP]
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Settings; `./wingbeat.toml` if there is one [env: WINGBEAT_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Parts of the shop, and tools for one that runs.
#[derive(Subcommand)]
enum Tool {
    /// Runs only these services, on RabbitMQ, PostgreSQL and Redis; gateway and provider are names too
    Run {
        /// Their names
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
        #[command(flatten)]
        flags: Flags,
    },
    /// Asks a process of this machine whether it is ready: exit code 0 if it is, else 1
    Ready {
        #[command(flatten)]
        flags: Flags,
    },
    Traffic(TrafficArgs),
    Audit(AuditArgs),
    Simulate(SimulateArgs),
}

impl Flags {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    fn sources(self) -> Sources {
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let given = [
            ("listen", self.listen),
            ("data", self.data),
            ("ops_listen", self.ops_listen),
            ("log", self.log),
            ("log_format", self.log_format),
            ("otlp", self.otlp),
            ("broker", self.broker),
            ("store", self.store),
            ("cache", self.cache),
            ("provider", self.provider),
            ("dev", self.dev.then(|| "on".to_owned())),
        ];
        let flags = given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let file = self
            .config
            .or_else(|| env.get("WINGBEAT_CONFIG").map(PathBuf::from));
        Sources {
            flags: flags.collect(),
            env,
            file,
        }
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "sabotage")]
    take_away();
    let mut cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads(cli.tool.as_ref()) {
        runtime.worker_threads(threads);
    }
    match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            match cli.tool.take() {
                Some(Tool::Traffic(args)) => traffic::run(args).await,
                Some(Tool::Audit(args)) => audit::run(args).await,
                Some(Tool::Simulate(args)) => simulate::run(&args),
                Some(Tool::Ready { flags }) => ready(flags.sources()).await,
                Some(Tool::Run { services, flags }) => run(flags.sources(), Some(services)).await,
                None => run(cli.flags.sources(), None).await,
            }
        }),
        Err(why) => cannot(&why),
    }
}

/// Threads of a process of few services: one each, since tasks that stay on a thread cost a tenth less than tasks that
/// are woken on another. `TOKIO_WORKER_THREADS` says otherwise; what is busier has replicas.
#[allow(
    clippy::disallowed_methods,
    reason = "tokio reads the variable, unless it is told a number"
)]
fn threads(tool: Option<&Tool>) -> Option<usize> {
    let Some(Tool::Run { services, .. }) = tool else {
        return None;
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let said = std::env::var_os("TOKIO_WORKER_THREADS").is_some();
    (!said).then(|| services.len().clamp(1, cores))
}

/// Takes the mechanism away that the environment names, and arms the step at which to end, in builds that can.
#[cfg(feature = "sabotage")]
#[allow(
    clippy::disallowed_methods,
    reason = "only in builds for negative controls"
)]
fn take_away() {
    if let Ok(mechanism) = std::env::var("WINGBEAT_SABOTAGE") {
        wingbeat::sabotage::remove(&mechanism).expect("a mechanism");
    }
    if let Ok(step) = std::env::var("WINGBEAT_FAILPOINT") {
        wingbeat::failpoint::arm(&step).expect("a step");
    }
}

fn cannot(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("shop: {why}");
    ExitCode::from(CANNOT)
}

async fn ready(sources: Sources) -> ExitCode {
    match sources.settings() {
        Ok(settings) => shop::ready::run(settings.listen).await,
        Err(why) => cannot(&why),
    }
}

async fn run(sources: Sources, services: Option<Vec<String>>) -> ExitCode {
    let settings = match sources.settings() {
        Ok(settings) => settings,
        Err(why) => return cannot(&why),
    };
    let logs = match logs::start(&settings) {
        Ok(logs) => logs,
        Err(why) => return cannot(&why),
    };
    let code = run_with(&settings, services).await;
    logs.close().await;
    code
}

async fn run_with(settings: &Settings, services: Option<Vec<String>>) -> ExitCode {
    let ended = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => return cannot(&why),
    };
    let cast = match services {
        Some(names) => Cast::of(&names, settings),
        None => Ok(Cast::whole(settings)),
    };
    match cast {
        Err(why) => cannot(&why),
        Ok(cast) if cast.is_provider() => match shop::provider(settings).await {
            Ok(provider) => {
                println!("The provider is open: {}", provider.url());
                ended.first().await;
                ExitCode::SUCCESS
            }
            Err(why) => cannot(&why),
        },
        Ok(cast) => play(settings, cast, ended).await,
    }
}

async fn play(settings: &Settings, cast: Cast, ended: Signals) -> ExitCode {
    let (whole, name) = (cast.whole, cast.name());
    let open = match shop::open(settings, cast).await {
        Ok(open) => open,
        Err(why) => return cannot(&why),
    };
    match whole {
        true => greet(&open, settings),
        false => println!("{name} is open: http://{}/", open.address),
    }
    ended.first().await;
    eprintln!("shop: closing");
    open.close().await;
    ExitCode::SUCCESS
}

fn greet(open: &shop::Open, settings: &Settings) {
    println!("The shop is open:     http://{}/", open.address);
    println!("Its API:              http://{}/openapi.json", open.address);
    if let Some(ops) = open.ops_address {
        println!("Metrics:              http://{ops}/metrics");
    }
    let file = settings.data.join("admin-password");
    match &open.admin_password {
        Some(password) if std::io::stdout().is_terminal() => {
            println!(
                "The admin:            {} / {password}",
                shop_identity::ADMIN_EMAIL
            );
        }
        Some(_) => println!(
            "The admin:            {}, password in {}",
            shop_identity::ADMIN_EMAIL,
            file.display()
        ),
        None => println!("The admin:            {}", shop_identity::ADMIN_EMAIL),
    }
    println!("Orders in flight:     {} recovered", open.recovered);
}

/// Ctrl-C and SIGTERM.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn first(mut self) {
        #[cfg(unix)]
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
    }
}
