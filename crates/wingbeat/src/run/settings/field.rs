//! The settings that a program has, for the command line, the help text and the file.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// The description of a setting.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) help: String,
    /// The name of the value in the help text.
    pub(crate) value: String,
    pub(crate) default: Option<String>,
    /// The variable.
    pub(crate) env: String,
    pub(crate) kind: Kind,
    /// A secret has no flag and no key in the file.
    pub(crate) secret: bool,
}

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// `--flag` alone means `on`.
    Switch,
}

/// Wingbeat's own settings.
pub(crate) static OURS: std::sync::LazyLock<Vec<Field>> = std::sync::LazyLock::new(|| {
    [
        (
            "listen",
            "ADDRESS",
            "The public address",
            Some("127.0.0.1:8080"),
        ),
        (
            "ops_listen",
            "ADDRESS",
            "The operator's address: /metrics, /healthz, /readyz, /ops",
            Some("127.0.0.1:9464"),
        ),
        (
            "data",
            "DIR",
            "The data directory of the embedded store",
            Some("./data"),
        ),
        (
            "broker",
            "URL",
            "RabbitMQ, `amqps://…` or `amqp://…`; together with --store and --cache",
            None,
        ),
        (
            "store",
            "URL",
            "PostgreSQL, `postgres://…?sslmode=verify-full`",
            None,
        ),
        ("cache", "URL", "Redis, `rediss://…` or `redis://…`", None),
        (
            "tls_ca",
            "PEM",
            "The authority of the servers' certificates: a PEM file, or `system`, the default",
            None,
        ),
        (
            "tls_cert",
            "PEM",
            "The certificate to present to the servers: a PEM file; together with --tls-key",
            None,
        ),
        ("tls_key", "PEM", "The key of --tls-cert: a PEM file", None),
        (
            "grant_to",
            "ROLES",
            "Roles of services to grant privileges to; `{service}` stands for each service's name",
            None,
        ),
        (
            "grant_read_to",
            "ROLES",
            "Roles that may only read, such as the one of a gateway that answers the audit",
            None,
        ),
        (
            "signing_key",
            "PEM",
            "The keys with which services sign their commands: a PEM file, or a directory of files \
             `<service>.key`; together with --trusted-keys",
            None,
        ),
        (
            "trusted_keys",
            "DIR",
            "The public keys of all services, files `<service>.pub`: commands must be signed",
            None,
        ),
        (
            "unsigned",
            "MODE",
            "Commands without a signature: refuse, or accept while not every process signs",
            Some("refuse"),
        ),
        (
            "bodies",
            "PLACE",
            "Where bodies above --bodies-above are kept: `store`, `off`, or a directory that all \
             processes share",
            Some("store"),
        ),
        (
            "bodies_above",
            "BYTES",
            "The size above which a body is kept apart from its message, such as 256KiB",
            Some("1MiB"),
        ),
        (
            "bodies_keep",
            "TIME",
            "How long bodies are kept; longer than any message waits, at least 192h",
            Some("720h"),
        ),
        (
            "record",
            "SHARE",
            "The share of stories that services record for replays, such as 0.01, and each dead \
             letter; or off",
            Some("off"),
        ),
        (
            "record_keep",
            "TIME",
            "How long recordings are kept",
            Some("24h"),
        ),
        (
            "drain_delay",
            "TIME",
            "How long an ending process reports that it is not ready before it closes its port",
            Some("0s"),
        ),
        (
            "overload_memory",
            "HIGH,LOW",
            "The memory, in percent of its limit, at which requests are refused, and accepted again; or off",
            Some("85,75"),
        ),
        (
            "memory_limit",
            "SIZE",
            "The memory that the process may use, such as 512MiB; by default the limit of its control group",
            None,
        ),
        (
            "overload_disk",
            "HIGH,LOW",
            "The free space of the embedded store's disk at which requests are refused, and accepted again; or off",
            Some("512MiB,768MiB"),
        ),
        (
            "overload_backlog",
            "HIGH,LOW",
            "The messages and due records of a service in the store, such as `5000,1000`, likewise",
            Some("off"),
        ),
        (
            "overload_queues",
            "HIGH,LOW",
            "The messages in the longest queue, likewise",
            Some("200000,100000"),
        ),
        (
            "overload_lag",
            "HIGH,LOW",
            "The age of the oldest of at least 1,000 messages, such as `120s,30s`, likewise",
            Some("off"),
        ),
        (
            "log",
            "FILTER",
            "The log filter, such as `info` or `wingbeat=debug,info`",
            Some("info"),
        ),
        (
            "log_format",
            "FORMAT",
            "The format of log lines: text or json",
            Some("text"),
        ),
        (
            "otlp",
            "URL",
            "An OpenTelemetry collector, `http://host:4318` or `https://…`, if built with the feature `otlp`",
            None,
        ),
        (
            "otlp_signals",
            "SIGNALS",
            "What the collector receives: some of traces,metrics,logs",
            Some("traces,metrics,logs"),
        ),
        (
            "otlp_interval",
            "TIME",
            "The interval at which the collector receives metrics",
            Some("60s"),
        ),
        (
            "ops_token",
            "TOKEN",
            "The token that /ops requires from other machines",
            None,
        ),
    ]
    .into_iter()
    .map(|(key, value, help, default)| Field {
        key: key.into(),
        help: help.into(),
        value: value.into(),
        default: default.map(str::to_owned),
        env: variable(key),
        kind: Kind::Text,
        secret: key == "ops_token",
    })
    .collect()
});

/// The variable of a key.
fn variable(key: &str) -> String {
    format!("WINGBEAT_{}", key.to_ascii_uppercase())
}

impl Field {
    /// Returns the fields of a program's own settings, in the order of the struct.
    pub(crate) fn of<S: JsonSchema>() -> Vec<Self> {
        let schema = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<S>();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Vec::new();
        };
        properties
            .iter()
            .map(|(key, schema)| Self::from_schema(key, schema))
            .collect()
    }

    fn from_schema(key: &str, schema: &Value) -> Self {
        let text = |name: &str| schema.get(name).and_then(Value::as_str).map(str::to_owned);
        let switch = schema.get("type").is_some_and(|kind| kind == "boolean");
        Self {
            key: key.to_owned(),
            help: text("description").unwrap_or_default().replace('\n', " "),
            value: text("x-value").unwrap_or_else(|| "VALUE".into()),
            default: schema.get("default").and_then(shown),
            env: text("x-env").unwrap_or_else(|| variable(key)),
            kind: if switch { Kind::Switch } else { Kind::Text },
            secret: schema.get("x-secret").is_some_and(|it| it == true),
        }
    }

    /// Returns whether only the command `migrate` uses it.
    pub(crate) fn is_of_migrate(&self) -> bool {
        self.key.starts_with("grant_")
    }

    /// Returns whether errors must not show the value.
    pub(crate) fn is_hidden(&self) -> bool {
        self.secret || self.is_url()
    }

    /// Returns whether the value is a URL. It may contain a password.
    pub(crate) fn is_url(&self) -> bool {
        self.value == "URL"
    }

    pub(crate) fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }

    /// The flag without its dashes.
    pub(crate) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

/// A default as a user would write it.
fn shown(default: &Value) -> Option<String> {
    match default {
        Value::Null => None,
        Value::Bool(on) => Some(if *on { "on" } else { "off" }.into()),
        Value::String(text) => Some(text.clone()),
        Value::Object(duration) => {
            let part = |name: &str| duration.get(name).and_then(Value::as_u64).unwrap_or(0);
            let (secs, nanos) = (part("secs"), part("nanos"));
            Some(match nanos {
                0 => format!("{secs}s"),
                nanos => format!("{}ms", secs * 1_000 + nanos / 1_000_000),
            })
        }
        other => Some(other.to_string()),
    }
}
