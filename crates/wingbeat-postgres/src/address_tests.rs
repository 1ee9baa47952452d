use super::*;

fn parsed(url: &str) -> Result<Address> {
    Address::parse(&Config::new(url))
}

fn server(url: &str) -> (tokio_postgres::Config, String) {
    let address = parsed(url).unwrap_or_else(|why| panic!("{url}: {why}"));
    (address.server.clone(), address.text())
}

#[test]
fn every_part_of_a_url_works() {
    let text = "postgresql://us%40er:p%2Fw@a:1,[::1],b/d%2Fb?application_name=x&connect_timeout=7\
                &options=-c%20work_mem%3D4MB&keepalives=0&keepalives_idle=20&keepalives_interval=3\
                &keepalives_retries=4&tcp_user_timeout=5000&target_session_attrs=any\
                &channel_binding=disable&sslmode=disable";
    let (server, hosts) = server(text);
    assert_eq!(hosts, "a:1,[::1]:5432,b:5432");
    assert_eq!(server.get_user(), Some("us@er"));
    assert_eq!(server.get_password(), Some(&b"p/w"[..]));
    assert_eq!(server.get_dbname(), Some("d/b"));
    assert_eq!(server.get_application_name(), Some("x"));
    assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(7)));
    assert_eq!(server.get_options(), Some("-c work_mem=4MB"));
    assert!(!server.get_keepalives());
    assert_eq!(server.get_keepalives_idle(), Duration::from_secs(20));
    assert_eq!(
        server.get_keepalives_interval(),
        Some(Duration::from_secs(3))
    );
    assert_eq!(server.get_keepalives_retries(), Some(4));
    assert_eq!(server.get_tcp_user_timeout(), Some(&Duration::from_secs(5)));
    assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::Any);
    assert_eq!(server.get_channel_binding(), ChannelBinding::Disable);
    assert_eq!(server.get_ssl_mode(), SslMode::Disable);
}

#[test]
fn hosts_and_credentials_may_be_parameters() {
    let text = "postgres:///?host=%2Frun%2Fpg,b&port=1,2&user=u&password=p&dbname=d";
    let (server, hosts) = server(text);
    assert_eq!(hosts, "/run/pg,b:2");
    assert_eq!(server.get_user(), Some("u"));
    assert_eq!(server.get_password(), Some(&b"p"[..]));
    assert_eq!(server.get_dbname(), Some("d"));
}

/// URLs, and what their refusal names.
const REFUSED: &[(&str, &str)] = &[
    ("mysql://u:s3cret@h/d", "scheme"),
    ("host=h user=u password=s3cret", "scheme"),
    ("postgres://u:s3cret@/d", "no host"),
    ("postgres://u:s3cret@h/d?host=i", "hosts twice"),
    ("postgres://u:s3cret@h/d?port=1,2", "`port`"),
    ("postgres://u:s3cret@h:1/d?port=1", "`port`"),
    ("postgres://u:s3cret@h/d/e", "%2F"),
    ("postgres://u:s3cret@h/d#e", "fragment"),
    ("postgres://u:s3cret@h/d?user=v", "user twice"),
    ("postgres://u:s3cret@h/d?password=v", "password twice"),
    ("postgres://u:s3cret@h/d?dbname=v", "database twice"),
    (
        "postgres://u:s3cret@h/d?connect_timeout=soon",
        "`connect_timeout`",
    ),
    ("postgres://u:s3cret@h/d?keepalives=yes", "keepalives"),
    (
        "postgres://u:s3cret@h/d?tcp_user_timeout=-1",
        "`tcp_user_timeout`",
    ),
    (
        "postgres://u:s3cret@h/d?target_session_attrs=standby",
        "target_session_attrs",
    ),
    (
        "postgres://u:s3cret@h/d?channel_binding=maybe",
        "channel_binding",
    ),
    ("postgres://u:s3cret@h/d?sslmode=allow", "sslmode"),
    ("postgres://u:s3cret@h/d?sslmode=REQUIRE", "sslmode"),
    ("postgres://u:s3cret@h/d?sslmode=verify-ca", "sslrootcert"),
    (
        "postgres://u:s3cret@h/d?sslmode=disable&sslrootcert=x",
        "certificates",
    ),
    (
        "postgres://u:s3cret@h/d?sslmode=prefer&sslcert=x&sslkey=y",
        "certificates",
    ),
    (
        "postgres://u:s3cret@h/d?sslmode=require&sslrootcert=system",
        "verify-full",
    ),
    (
        "postgres://u:s3cret@h/d?sslnegotiation=direct",
        "sslnegotiation",
    ),
    ("postgres://u:s3cret@h/d?sslcrl=x", "`sslcrl`"),
    ("postgres://u:s3cret@h/d?passfile=x", "`passfile`"),
    (
        "postgres://u:s3cret@h/d?load_balance_hosts=random",
        "`load_balance_hosts`",
    ),
    (
        "postgres://u:s3cret@%2Frun%2Fpg/d?sslmode=require",
        "Unix socket",
    ),
];

#[test]
fn what_does_not_work_is_refused_by_name() {
    for (url, expected) in REFUSED {
        let Err(why) = parsed(url) else {
            panic!("{url} was accepted");
        };
        let text = why.to_string();
        assert_eq!(why.code(), "store_url_invalid", "{url}: {text}");
        assert!(text.contains(expected), "{url}: {text}");
        assert!(!text.contains("s3cret"), "{url}: {text}");
    }
    let missing = parsed("postgres://u:s3cret@h/d?sslrootcert=/nowhere.pem");
    assert_eq!(missing.err().map(|why| why.code()), Some("tls_invalid"));
}

/// A URL or a setting that asks for TLS is never used without.
#[test]
fn the_mode_is_that_of_libpq_and_certificates_ask_for_tls() {
    let none = TlsFiles::default();
    let ca = |ca: &str| TlsFiles {
        ca: Some(ca.into()),
        ..TlsFiles::default()
    };
    let (own, system) = (ca("ca.pem"), ca("system"));
    let cases = [
        (None, &none, &none, Mode::Prefer),
        (Some("disable"), &none, &none, Mode::Plaintext),
        (Some("disable"), &none, &own, Mode::Plaintext),
        (Some("prefer"), &none, &own, Mode::Prefer),
        (Some("require"), &none, &none, Mode::Tls(Verify::Nothing)),
        (Some("require"), &own, &none, Mode::Tls(Verify::Issuer)),
        (Some("require"), &none, &own, Mode::Tls(Verify::Issuer)),
        (Some("verify-ca"), &none, &own, Mode::Tls(Verify::Issuer)),
        (Some("verify-full"), &none, &none, Mode::Tls(Verify::Full)),
        (Some("verify-full"), &system, &own, Mode::Tls(Verify::Full)),
        (None, &own, &none, Mode::Tls(Verify::Full)),
        (None, &none, &own, Mode::Tls(Verify::Full)),
        (None, &system, &none, Mode::Tls(Verify::Full)),
    ];
    for (sslmode, own, defaults, expected) in cases {
        let found = super::mode(sslmode, own, defaults, false);
        assert_eq!(found, Ok(expected), "{sslmode:?}");
    }
    assert_eq!(super::mode(None, &none, &own, true), Ok(Mode::Plaintext));
}
