use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::BaseUrl;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct Own {
    /// How long a room is held
    hold_for: Duration,
    rooms: u32,
    #[schemars(extend("x-value" = "URL"))]
    bank: Option<String>,
    #[schemars(extend("x-value" = "URL"))]
    agent: Option<BaseUrl>,
    strict: bool,
    #[schemars(extend("x-env" = "HOTEL_PASSWORD", "x-secret" = true))]
    password: Option<String>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            hold_for: Duration::from_secs(900),
            rooms: 7,
            bank: None,
            agent: None,
            strict: true,
            password: None,
        }
    }
}

fn read(
    flags: &[(&str, &str)],
    env: &[(&str, &str)],
    file: &str,
) -> Result<Settings<Own>, SettingsError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("wingbeat.toml");
    std::fs::write(&path, file).expect("it is written");
    read_from(flags, env, path)
}

fn read_from(
    flags: &[(&str, &str)],
    env: &[(&str, &str)],
    file: PathBuf,
) -> Result<Settings<Own>, SettingsError> {
    let flags = flags
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    let env = env
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    Settings::read(&Sources {
        flags: flags.collect(),
        env: env.collect(),
        file: Some(file),
    })
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file() {
    let file = "listen = \"127.0.0.1:1\"\nlog = \"debug\"\nrooms = 3\nhold_for = \"1h\"";
    let env = [("WINGBEAT_LISTEN", "127.0.0.1:2"), ("WINGBEAT_ROOMS", "4")];
    let settings = read(&[("listen", "0.0.0.0:9"), ("rooms", "5")], &env, file);
    let settings = settings.expect("they are right");
    assert_eq!(settings.listen.to_string(), "0.0.0.0:9");
    assert_eq!((settings.log.as_str(), settings.own.rooms), ("debug", 5));
    assert_eq!(settings.own.hold_for, Duration::from_secs(3_600));
    let settings = read(&[], &env, file).expect("they are right");
    assert_eq!((settings.listen.port(), settings.own.rooms), (2, 4));
}

#[test]
fn unset_settings_have_their_defaults() {
    let settings = read(&[], &[], "").expect("they are right");
    assert_eq!(settings.own.hold_for, Duration::from_secs(900));
    assert!(settings.own.strict && settings.own.bank.is_none() && settings.servers.is_none());
    assert_eq!(Settings::<()>::default().listen.port(), 8080);
}

#[test]
fn every_kind_of_value_is_read_from_text() {
    let env = [
        ("WINGBEAT_HOLD_FOR", "500ms"),
        ("WINGBEAT_BANK", "http://bank"),
        ("WINGBEAT_STRICT", "off"),
    ];
    let own = read(&[], &env, "").expect("they are right").own;
    assert_eq!(own.hold_for, Duration::from_millis(500));
    assert_eq!(
        (own.bank.as_deref(), own.strict),
        (Some("http://bank"), false)
    );
}

#[test]
fn recordings_have_a_share_and_a_retention() {
    let of = |env: &[(&str, &str)]| {
        let read = read(&[], env, "").map_err(|why| why.to_string())?;
        Ok::<_, String>(read.recording.map(|it| format!("{it:?}")))
    };
    let expected = |it: Recording| Ok(Some(format!("{it:?}")));
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&[("WINGBEAT_RECORD", "off")]), Ok(None));
    let env = [("WINGBEAT_RECORD", "0.01"), ("WINGBEAT_RECORD_KEEP", "6h")];
    let keep = Duration::from_secs(6 * 3600);
    assert_eq!(of(&env), expected(Recording::share(0.01).keep(keep)));
    assert_eq!(of(&env[..1]), expected(Recording::share(0.01)));
    for wrong in [
        ("WINGBEAT_RECORD", "1%"),
        ("WINGBEAT_RECORD", "2"),
        ("WINGBEAT_RECORD", "NaN"),
        ("WINGBEAT_RECORD_KEEP", "0s"),
    ] {
        assert!(of(&[wrong]).is_err(), "{wrong:?}");
    }
}

#[test]
fn large_bodies_have_a_place_a_threshold_and_a_retention() {
    let of = |env: &[(&str, &str)]| {
        let read = read(&[], env, "").map_err(|why| why.to_string())?;
        Ok::<_, String>((read.bodies, read.bodies_above, read.bodies_keep))
    };
    let month = Duration::from_secs(30 * 24 * 3600);
    assert_eq!(of(&[]), Ok((BodyPlace::Store, 1 << 20, month)));
    let env = [
        ("WINGBEAT_BODIES", "/mnt/bodies"),
        ("WINGBEAT_BODIES_ABOVE", "256KiB"),
        ("WINGBEAT_BODIES_KEEP", "1000h"),
    ];
    let place = BodyPlace::Directory("/mnt/bodies".into());
    let time = Duration::from_secs(1000 * 3600);
    assert_eq!(of(&env), Ok((place, 256 << 10, time)));
    let (place, ..) = of(&[("WINGBEAT_BODIES", "off")]).expect("it is right");
    assert_eq!(place, BodyPlace::Off);
    for wrong in [
        ("WINGBEAT_BODIES_ABOVE", "2MiB"),
        ("WINGBEAT_BODIES_ABOVE", "0"),
        ("WINGBEAT_BODIES_ABOVE", "256 KB"),
        ("WINGBEAT_BODIES_KEEP", "24h"),
    ] {
        let why = of(&[wrong]).expect_err("it is wrong");
        assert!(why.contains(wrong.0), "{why}");
    }
}

#[test]
fn a_variable_may_name_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "correct horse\n").expect("it is written");
    let env = [("HOTEL_PASSWORD_FILE", secret.to_str().expect("UTF-8"))];
    let own = read(&[], &env, "").expect("they are right").own;
    assert_eq!(own.password.as_deref(), Some("correct horse"));
}

#[test]
fn a_wrong_value_is_reported_with_its_origin_and_the_expected_form() {
    let wrong = |flags: &[(&str, &str)], env: &[(&str, &str)], file: &str| {
        read(flags, env, file).expect_err("it is wrong").to_string()
    };
    assert_eq!(
        wrong(&[("listen", "nowhere")], &[], ""),
        "--listen: \"nowhere\" is not an address such as 127.0.0.1:8080"
    );
    assert_eq!(
        wrong(&[], &[("WINGBEAT_HOLD_FOR", "soon")], ""),
        "WINGBEAT_HOLD_FOR: \"soon\" is not a time such as 500ms, 2s or 24h"
    );
    assert_eq!(
        wrong(&[("rooms", "-1")], &[], ""),
        "--rooms: \"-1\" is not a number (u32)"
    );
    assert!(wrong(&[], &[], "strict = \"maybe\"").contains("is not on or off"));
    assert!(wrong(&[], &[], "romes = 1").contains("has no setting \"romes\""));
}

#[test]
fn a_wrong_url_is_reported_without_its_value() {
    let wrong = |env: &[(&str, &str)]| {
        let why = read(&[], env, "").expect_err("it is wrong").to_string();
        assert!(!why.contains("s3cret"), "{why}");
        why
    };
    let agent = wrong(&[("WINGBEAT_AGENT", "http://u:s3cret@agent")]);
    assert!(agent.starts_with("WINGBEAT_AGENT is not right"), "{agent}");
    let rooms = wrong(&[("WINGBEAT_URL_ROOMS", "http://rooms,http://u:s3cret@b")]);
    assert!(rooms.starts_with("WINGBEAT_URL_ROOMS is not"), "{rooms}");
    assert!(wrong(&[("WINGBEAT_URL_ROOMS", "")]).contains("WINGBEAT_URL_ROOMS"));
}

#[test]
fn the_urls_among_the_settings_are_known() {
    let env = [
        ("WINGBEAT_URL_ROOMS", "http://rooms:1, http://10.0.0.1:2/"),
        ("WINGBEAT_BANK", "http://bank.example.com"),
    ];
    let settings = read(&[], &env, "").expect("they are right");
    let origins: Vec<&str> = settings.urls.iter().map(|it| it.origin.as_str()).collect();
    assert_eq!(
        origins,
        ["WINGBEAT_URL_ROOMS", "WINGBEAT_URL_ROOMS", "WINGBEAT_BANK"]
    );
    assert_eq!(
        settings.upstreams["rooms"],
        "http://rooms:1,http://10.0.0.1:2"
    );
}

#[cfg(feature = "https")]
#[test]
fn https_and_other_urls_with_tls_use_certificates() {
    let flags = [("tls_ca", "ca.pem")];
    let with = |env: &[(&str, &str)]| read(&flags, env, "").map(|settings| settings.tls.ca.clone());
    let used = Ok(Some("ca.pem".to_owned()));
    assert_eq!(with(&[("WINGBEAT_URL_ROOMS", "https://rooms")]), used);
    assert_eq!(with(&[("WINGBEAT_BANK", "https://bank")]), used);
    assert_eq!(with(&[("WINGBEAT_BANK", "smtp://bank")]), used);
    for env in [
        ("WINGBEAT_URL_ROOMS", "http://rooms"),
        ("WINGBEAT_BANK", "http://bank"),
        ("WINGBEAT_BANK", "smtp://bank?tls=off"),
    ] {
        let why = with(&[env]).expect_err("nothing uses TLS");
        assert!(matches!(why, SettingsError::TlsUnused(_)), "{why}");
    }
}

#[test]
fn everything_that_is_wrong_is_reported_and_has_its_default() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("wingbeat.toml");
    std::fs::write(&file, "romes = 1\nlogg = \"info\"").expect("it is written");
    let flags = [
        ("listen", "nowhere"),
        ("rooms", "-1"),
        ("broker", "amqp://b"),
    ];
    let env = [
        ("WINGBEAT_HOLD_FOR", "soon"),
        ("WINGBEAT_LOG_FORMAT", "xml"),
        ("WINGBEAT_URL_ORDERS", "orders"),
        ("WINGBEAT_URL_CARTS", "http://a:1, https://b"),
        ("HOTEL_PASSWORD_FILE", "missing"),
    ];
    let texts = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        owned.collect::<Vec<_>>()
    };
    let env = texts(&env).into_iter();
    let (settings, faults) = Settings::<Own>::read_all(&Sources {
        flags: texts(&flags).into_iter().collect(),
        env: env.map(|(key, value)| (key.into(), value.into())).collect(),
        file: Some(file),
    });
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for part in [
        "\"romes\"",
        "\"logg\"",
        "--listen",
        "--rooms",
        "WINGBEAT_HOLD_FOR",
        "WINGBEAT_LOG_FORMAT",
        "WINGBEAT_URL_ORDERS",
        "HOTEL_PASSWORD_FILE",
        "--store and --cache are missing",
    ] {
        let found = faults.iter().filter(|fault| fault.contains(part)).count();
        assert_eq!(found, 1, "{part} in {faults:?}");
    }
    assert_eq!(faults.len(), 9, "{faults:?}");
    assert_eq!((settings.listen.port(), settings.own.rooms), (8080, 7));
    assert_eq!(settings.own.hold_for, Duration::from_secs(900));
    let upstreams: Vec<_> = settings.upstreams.keys().collect();
    assert_eq!(upstreams, ["carts"]);
}

#[test]
fn a_secret_is_no_key_of_the_file_and_not_part_of_an_error() {
    assert!(matches!(
        read(&[], &[], "password = \"x\""),
        Err(SettingsError::Unknown { .. })
    ));
}

/// An empty secret comes from a variable that is not set where it is passed on, or from an empty
/// file.
#[test]
fn a_secret_without_a_value_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let blank = directory.path().join("blank");
    std::fs::write(&blank, "\r\n").expect("it is written");
    let blank = blank.to_str().expect("UTF-8");
    let ours = [
        "OPS_TOKEN",
        "SIGNING_KEY",
        "TLS_KEY",
        "BROKER",
        "STORE",
        "CACHE",
    ];
    let ours = ours.map(|key| format!("WINGBEAT_{key}"));
    for variable in ours.iter().map(String::as_str).chain(["HOTEL_PASSWORD"]) {
        let file = format!("{variable}_FILE");
        for (name, value) in [(variable, ""), (variable, " \t"), (file.as_str(), blank)] {
            let why = read(&[], &[(name, value)], "").expect_err("it keeps nobody out");
            let expected = SettingsError::InvalidSecret {
                origin: name.into(),
                expected: "a non-empty text".into(),
            };
            assert_eq!(why, expected);
        }
    }
}

#[test]
fn the_fields_carry_help_defaults_and_kinds() {
    let fields = Field::of::<Own>();
    let named = |key: &str| fields.iter().find(|it| it.key == key).expect("it exists");
    assert_eq!(named("hold_for").help, "How long a room is held");
    assert_eq!(named("hold_for").flag(), "hold-for");
    assert_eq!(named("bank").value, "URL");
    assert_eq!(named("strict").kind, field::Kind::Switch);
    assert_eq!(named("password").env, "HOTEL_PASSWORD");
    assert!(Field::of::<()>().is_empty());
}

#[cfg(unix)]
#[test]
fn foreign_variables_that_are_not_utf8_are_ignored_and_ours_are_reported() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = std::ffi::OsString::from_vec(vec![0xff, 0xfe]);
    let mut sources = Sources {
        file: Some("/dev/null".into()),
        ..Sources::default()
    };
    sources.env.insert("SOMEBODY".into(), broken.clone());
    assert!(Settings::<()>::read(&sources).is_ok());
    sources.env.insert("WINGBEAT_LOG".into(), broken.clone());
    sources.env.insert("WINGBEAT_URL_ORDERS".into(), broken);
    let (_, faults) = Settings::<()>::read_all(&sources);
    let of = |name: &str| SettingsError::NotUtf8(name.into());
    assert_eq!(faults, [of("WINGBEAT_LOG"), of("WINGBEAT_URL_ORDERS")]);
}

#[cfg(unix)]
#[test]
fn each_wrong_setting_of_migrate_is_reported_once() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = std::ffi::OsString::from_vec(vec![0xff, 0xfe]);
    let wrong = ["STORE", "TLS_CA", "TLS_CERT", "TLS_KEY", "GRANT_TO"];
    let wrong = wrong.map(|key| format!("WINGBEAT_{key}"));
    let env = wrong.iter().map(|name| (name.into(), broken.clone()));
    let sources = Sources {
        env: env.collect(),
        file: Some("/dev/null".into()),
        ..Sources::default()
    };
    let Err(faults) = MigrateSettings::read_all::<()>(&sources) else {
        panic!("they are wrong");
    };
    for name in wrong {
        let fault = SettingsError::NotUtf8(name);
        let count = faults.iter().filter(|it| **it == fault).count();
        assert_eq!(count, 1, "{fault:?} in {faults:?}");
    }
}

#[cfg(feature = "signing")]
#[test]
fn the_keys_for_signatures_are_settings_and_are_never_ignored() {
    let trust = |flags: &[(&str, &str)], env: &[(&str, &str)]| {
        read(flags, env, "").map(|settings| settings.trust)
    };
    assert_eq!(trust(&[], &[]), Ok(None));
    let both = [("trusted_keys", "trusted"), ("signing_key", "orders.key")];
    let found = trust(&both, &[("WINGBEAT_UNSIGNED", "accept")]);
    let found = found.expect("they are right").expect("set");
    assert_eq!(found.signing_key, Some(Secret("orders.key".into())));
    assert_eq!(found.trusted_keys, PathBuf::from("trusted"));
    assert!(found.accept_unsigned);
    assert!(
        !trust(&both, &[])
            .expect("right")
            .expect("set")
            .accept_unsigned
    );
    for alone in ["signing_key", "unsigned"] {
        let why = trust(&[(alone, "refuse")], &[]).expect_err("it would be ignored");
        assert!(matches!(why, SettingsError::Without { .. }), "{why}");
    }
    let why = trust(&[both[0], ("unsigned", "maybe")], &[]).expect_err("no mode");
    assert!(matches!(why, SettingsError::Invalid { .. }), "{why}");
    let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----";
    let why = trust(&[both[0], ("signing_key", text)], &[]).expect_err("others can read it");
    assert!(!why.to_string().contains("MC4C"), "{why}");
    assert!(trust(&[both[0]], &[("WINGBEAT_SIGNING_KEY", text)]).is_ok());
}

#[cfg(feature = "servers")]
#[test]
fn certificates_for_servers_are_settings_and_are_never_ignored() {
    let flags = |broker: &'static str, store: &'static str, cache: &'static str| {
        vec![
            ("broker", broker),
            ("store", store),
            ("cache", cache),
            ("tls_cert", "cert.pem"),
        ]
    };
    let file = "tls_ca = \"ca.pem\"";
    let env = [("WINGBEAT_TLS_KEY", "key.pem")];
    let with = |flags: &[(&str, &str)]| read(flags, &env, file);
    let plain = "postgres://h?sslmode=disable";
    for all in [
        flags("amqps://h", plain, "redis://h"),
        flags("amqp://h", "postgres://h", "redis://h"),
        flags("amqp://h", plain, "rediss://h"),
    ] {
        let tls = with(&all)
            .expect("they are right")
            .servers
            .expect("set")
            .tls;
        assert_eq!(tls.ca.as_deref(), Some("ca.pem"));
        assert_eq!(tls.certificate.as_deref(), Some("cert.pem"));
        assert_eq!(tls.key.as_deref(), Some("key.pem"));
    }
    for all in [vec![], flags("amqp://h", plain, "redis://h")] {
        let why = with(&all).expect_err("nothing is connected with TLS");
        assert!(matches!(why, SettingsError::TlsUnused(_)), "{why}");
    }
}

#[test]
fn watermarks_are_a_high_and_a_low_reading_or_off() {
    use crate::overload::{Watermark, Watermarks};

    let defaults = read(&[], &[], "").expect("they are right");
    assert_eq!(defaults.watermarks, Watermarks::default());
    assert_eq!(defaults.memory_limit, None);
    let flags = [
        ("overload_memory", "80, 60"),
        ("overload_disk", "1GiB,2048MiB"),
        ("overload_backlog", "off"),
        ("overload_lag", "5m,30s"),
        ("memory_limit", "512MiB"),
    ];
    let settings = read(&flags, &[], "").expect("they are right");
    let mark = |high, low| Some(Watermark { high, low });
    let Watermarks {
        memory,
        disk,
        backlog,
        queues,
        lag,
    } = settings.watermarks;
    assert_eq!((memory, backlog), (mark(80, 60), None));
    assert_eq!(disk, mark(1 << 30, 2 << 30));
    assert_eq!((queues, lag), (Watermarks::default().queues, mark(300, 30)));
    assert_eq!(settings.memory_limit, Some(512 << 20));
    for (key, wrong) in [
        ("overload_memory", "60,80"),
        ("overload_memory", "101,80"),
        ("overload_memory", "80"),
        ("overload_disk", "2GiB,1GiB"),
        ("overload_queues", "many,few"),
        ("overload_lag", "30,10"),
        ("memory_limit", "0"),
        ("memory_limit", "half"),
    ] {
        let refused = read(&[(key, wrong)], &[], "").expect_err("it is wrong");
        let flag = format!("--{}", key.replace('_', "-"));
        assert!(refused.to_string().contains(&flag), "{refused}");
    }
}
