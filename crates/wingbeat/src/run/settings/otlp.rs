//! Where telemetry is sent: Wingbeat's own settings, and the variables that OpenTelemetry specifies
//! (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).

use std::time::Duration;

use super::error::SettingsError;
use super::lookup::{A_DURATION, Found, Lookup, duration};
use crate::BaseUrl;

/// The interval of metrics, by the specification.
const INTERVAL: Duration = Duration::from_secs(60);
/// The least interval. A shorter one would ask store and broker for backlogs all the time.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The export of telemetry to OpenTelemetry collectors, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Otlp {
    /// The URL that receives spans.
    pub traces: Option<String>,
    /// The URL that receives metrics.
    pub metrics: Option<String>,
    /// The URL that receives log records.
    pub logs: Option<String>,
    /// The interval at which metrics are sent.
    pub interval: Duration,
}

/// A signal: its word in settings and variables, and the collector's path for it.
struct Signal {
    word: &'static str,
    path: &'static str,
}

const SIGNALS: [Signal; 3] = [
    Signal {
        word: "traces",
        path: "/v1/traces",
    },
    Signal {
        word: "metrics",
        path: "/v1/metrics",
    },
    Signal {
        word: "logs",
        path: "/v1/logs",
    },
];

const A_COLLECTOR: &str = "the address of a collector, such as http://localhost:4318";

impl Lookup<'_> {
    /// Returns where telemetry is sent.
    pub(super) fn otlp(&self, faults: &mut Vec<SettingsError>) -> Otlp {
        let mut urls = self.otlp_urls(faults).into_iter();
        let mut next = || urls.next().flatten().map(|it| it.value);
        Otlp {
            traces: next(),
            metrics: next(),
            logs: next(),
            interval: self.interval(faults),
        }
    }

    /// Returns the URLs of the three signals, with their origins. Variables of OpenTelemetry are
    /// often set for all programs of a machine, so those that export nothing ignore them.
    pub(super) fn otlp_urls(&self, faults: &mut Vec<SettingsError>) -> [Option<Found>; 3] {
        let own = kept(self.ours("otlp"), faults);
        if let Some(found) = own.as_ref().filter(|_| !cfg!(feature = "otlp")) {
            faults.push(SettingsError::NotBuilt {
                origin: found.origin.clone(),
                feature: "otlp",
            });
        }
        if !cfg!(feature = "otlp") {
            return [None, None, None];
        }
        let wanted = self.wanted(faults);
        let base = match own {
            Some(own) => Some(own),
            None => self.specified("OTEL_EXPORTER_OTLP_ENDPOINT", faults),
        };
        let mut urls = SIGNALS.map(|signal| {
            let name = signal.word.to_ascii_uppercase();
            let of_signal = format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT");
            let found = match self.specified(&of_signal, faults) {
                Some(exact) => Some(exact),
                None => base.clone().map(|base| Found {
                    value: at_path(&base.value, signal.path),
                    ..base
                }),
            };
            found.filter(|_| wanted.contains(&signal.word))
        });
        for url in &mut urls {
            if let Some(why) = url.as_ref().and_then(fault) {
                *url = None;
                if !faults.contains(&why) {
                    faults.push(why);
                }
            }
        }
        let specified = urls.iter().flatten();
        if specified
            .into_iter()
            .any(|it| it.origin.starts_with("OTEL_"))
        {
            self.check_protocol(faults);
        }
        urls
    }

    /// Returns the words of the signals that are exported.
    fn wanted(&self, faults: &mut Vec<SettingsError>) -> Vec<&'static str> {
        let words = SIGNALS.map(|it| it.word);
        if let Some(found) = kept(self.ours("otlp_signals"), faults) {
            let listed: Vec<_> = found.value.split(',').map(str::trim).collect();
            if listed.iter().all(|it| words.contains(it)) {
                let is_listed = |word: &&str| listed.contains(word);
                return words.into_iter().filter(is_listed).collect();
            }
            faults.push(found.invalid("some of traces,metrics,logs"));
        }
        let disabled = self.specified("OTEL_SDK_DISABLED", faults);
        if disabled.is_some_and(|it| it.value.eq_ignore_ascii_case("true")) {
            return Vec::new();
        }
        let words = words.into_iter();
        let is_exported = |word: &&str| {
            let variable = format!("OTEL_{}_EXPORTER", word.to_ascii_uppercase());
            match self.specified(&variable, faults) {
                None => true,
                Some(found) if found.value == "otlp" => true,
                Some(found) if found.value == "none" => false,
                Some(found) => {
                    faults.push(found.invalid("otlp or none"));
                    false
                }
            }
        };
        words.filter(is_exported).collect()
    }

    fn check_protocol(&self, faults: &mut Vec<SettingsError>) {
        let found = self.specified("OTEL_EXPORTER_OTLP_PROTOCOL", faults);
        if let Some(found) = found.filter(|it| it.value != "http/protobuf") {
            faults.push(found.invalid("http/protobuf"));
        }
    }

    fn interval(&self, faults: &mut Vec<SettingsError>) -> Duration {
        let is_long = |it: &Duration| *it >= INTERVAL_MIN;
        if let Some(found) = kept(self.ours("otlp_interval"), faults) {
            let interval = duration(&found.value).filter(is_long);
            return interval.unwrap_or_else(|| {
                faults.push(found.invalid(format!("{A_DURATION}, at least 100ms")));
                INTERVAL
            });
        }
        if !cfg!(feature = "otlp") {
            return INTERVAL;
        }
        let Some(found) = self.specified("OTEL_METRIC_EXPORT_INTERVAL", faults) else {
            return INTERVAL;
        };
        let interval = found.value.parse().ok().map(Duration::from_millis);
        interval.filter(is_long).unwrap_or_else(|| {
            faults.push(found.invalid("a number of milliseconds, at least 100"));
            INTERVAL
        })
    }

    /// Returns the value of a variable of OpenTelemetry. A blank one is not set.
    fn specified(&self, name: &str, faults: &mut Vec<SettingsError>) -> Option<Found> {
        let value = kept(self.variable(name), faults)?;
        let found = Found {
            origin: name.to_owned(),
            value: value.trim().to_owned(),
        };
        Some(found).filter(|it| !it.is_blank())
    }
}

/// Returns what was found; reports an error.
fn kept<T>(found: Result<Option<T>, SettingsError>, faults: &mut Vec<SettingsError>) -> Option<T> {
    found.unwrap_or_else(|why| {
        faults.push(why);
        None
    })
}

/// Returns the URL of a path at the address of a collector, which may contain the path of a signal.
fn at_path(address: &str, path: &str) -> String {
    let base = address.trim_end_matches('/');
    let base = SIGNALS.iter().find_map(|it| base.strip_suffix(it.path));
    let base = base.unwrap_or(address).trim_end_matches('/');
    format!("{base}{path}")
}

/// Returns what is wrong with a URL. The error does not show it: it may contain a password.
fn fault(found: &Found) -> Option<SettingsError> {
    let why = found.value.parse::<BaseUrl>().err()?;
    Some(SettingsError::InvalidSecret {
        origin: found.origin.clone(),
        expected: format!("{A_COLLECTOR}: {why}"),
    })
}

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use super::super::{Settings, Sources};
    use super::*;

    fn read(env: &[(&str, &str)]) -> (Otlp, Vec<String>) {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let sources = Sources {
            env: env.collect(),
            file: Some("/dev/null".into()),
            ..Sources::default()
        };
        let (settings, faults) = Settings::<()>::read_all(&sources);
        (
            settings.otlp,
            faults.iter().map(ToString::to_string).collect(),
        )
    }

    fn urls(env: &[(&str, &str)]) -> [Option<String>; 3] {
        let (otlp, faults) = read(env);
        assert_eq!(faults, [""; 0], "{env:?}");
        [otlp.traces, otlp.metrics, otlp.logs]
    }

    fn all_at(base: &str) -> [Option<String>; 3] {
        SIGNALS.map(|it| Some(format!("{base}{}", it.path)))
    }

    #[test]
    fn all_signals_go_to_the_collector() {
        assert_eq!(urls(&[]), [None, None, None]);
        for address in ["http://a:1", "http://a:1/", "http://a:1/v1/traces"] {
            assert_eq!(urls(&[("WINGBEAT_OTLP", address)]), all_at("http://a:1"));
        }
        let specified = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b/otlp/");
        assert_eq!(urls(&[specified]), all_at("http://b/otlp"));
        let both = [specified, ("WINGBEAT_OTLP", "http://a")];
        assert_eq!(
            urls(&both),
            all_at("http://a"),
            "our own settings come first"
        );
        assert_eq!(
            urls(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]),
            [None, None, None]
        );
    }

    #[test]
    fn a_signal_may_have_a_collector_of_its_own_or_none() {
        let base = ("WINGBEAT_OTLP", "http://a");
        let [traces, metrics, logs] = all_at("http://a");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://b/x");
        let exact = Some("http://b/x".to_owned());
        assert_eq!(
            urls(&[base, own]),
            [traces.clone(), exact.clone(), logs.clone()]
        );
        assert_eq!(urls(&[own]), [None, exact, None]);
        let none = ("OTEL_LOGS_EXPORTER", "none");
        assert_eq!(urls(&[base, none]), [traces.clone(), metrics.clone(), None]);
        let listed = ("WINGBEAT_OTLP_SIGNALS", "logs, traces");
        assert_eq!(urls(&[base, none, listed]), [traces, None, logs]);
        assert_eq!(
            urls(&[base, ("OTEL_SDK_DISABLED", "true")]),
            [None, None, None]
        );
    }

    #[test]
    fn the_interval_of_metrics_is_a_minute_unless_it_is_set() {
        let interval = |env: &[(&str, &str)]| read(env).0.interval;
        assert_eq!(interval(&[]), INTERVAL);
        let specified = ("OTEL_METRIC_EXPORT_INTERVAL", "1500");
        assert_eq!(interval(&[specified]), Duration::from_millis(1_500));
        let own = ("WINGBEAT_OTLP_INTERVAL", "5s");
        assert_eq!(interval(&[specified, own]), Duration::from_secs(5));
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_variable() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");
        for wrong in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@a"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "a:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "10s"),
            ("WINGBEAT_OTLP_INTERVAL", "1ms"),
            ("WINGBEAT_OTLP_SIGNALS", "traces,profiles"),
        ] {
            let (_, faults) = read(&[base, wrong]);
            assert_eq!(faults.len(), 1, "{wrong:?}: {faults:?}");
            assert!(faults[0].contains(wrong.0), "{faults:?}");
            assert!(!faults[0].contains("s3cret"), "{faults:?}");
        }
        let unused = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert_eq!(read(&unused).1, [""; 0], "nothing is exported");
    }
}
