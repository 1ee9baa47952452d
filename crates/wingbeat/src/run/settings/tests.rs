use std::path::PathBuf;

use serde::Deserialize;

use super::*;

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
fn the_http_addresses_among_the_settings_are_known() {
    let env = [
        ("WINGBEAT_URL_ROOMS", "http://rooms:1,http://10.0.0.1:2"),
        ("WINGBEAT_BANK", "http://bank.example.com"),
    ];
    let urls = read(&[], &env, "").expect("they are right").urls;
    let exposed = urls.iter().filter(|it| it.is_exposed());
    let exposed: Vec<&str> = exposed.map(|it| it.origin.as_str()).collect();
    assert_eq!((urls.len(), exposed), (3, vec!["WINGBEAT_BANK"]));
}

#[test]
fn a_client_certificate_needs_its_key() {
    let half = read(&[("tls_cert", "a.pem")], &[], "").expect_err("the key is missing");
    assert!(half.to_string().contains("--tls-key"), "{half}");
}

#[test]
fn a_secret_is_no_key_of_the_file_and_not_part_of_an_error() {
    assert!(matches!(
        read(&[], &[], "password = \"x\""),
        Err(SettingsError::Unknown { .. })
    ));
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
    sources.env.insert("WINGBEAT_LOG".into(), broken);
    assert_eq!(
        Settings::<()>::read(&sources).err(),
        Some(SettingsError::NotUtf8("WINGBEAT_LOG".into()))
    );
}
