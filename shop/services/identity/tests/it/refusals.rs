//! The log of refused passwords.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::Once;

use serde_json::json;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

use super::{EMAIL, PASSWORD, config, world};

thread_local! {
    /// The lines of this thread, with level and fields. The world of a test runs on its thread.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Records the lines of each thread. There is one for all tests: subscribers of single threads come
/// and go, and each time tracing decides again which lines anybody wants.
struct Log;

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            let _ = write!(line, " {field}={value:?}");
        });
        LINES.with_borrow_mut(|lines| lines.push(line));
    }
}

impl Log {
    fn start() -> Self {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| registry().with(Self).init());
        LINES.with_borrow_mut(Vec::clear);
        Self
    }

    fn refused(&self) -> Vec<String> {
        LINES.with_borrow(|lines| {
            let refused = lines
                .iter()
                .filter(|it| it.contains("a password was refused"));
            refused.cloned().collect()
        })
    }
}

#[test]
fn a_refused_password_is_logged_with_its_code_and_without_the_account() {
    let log = Log::start();
    let world = world(&config());
    assert_eq!(world.sign_in_from("192.0.2.7", None, PASSWORD), 201);
    assert_eq!(log.refused(), Vec::<String>::new());
    assert_eq!(world.sign_in_from("192.0.2.7", None, "wrong horse"), 401);
    let lines = log.refused();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("code=\"invalid_credentials\""),
        "{lines:?}"
    );
    assert!(lines[0].contains("user="), "{lines:?}");
    for secret in [EMAIL, "wrong horse", "192.0.2.7"] {
        assert!(!lines[0].contains(secret), "{lines:?}");
    }
    let unknown = json!({"email": "eve@shop.example", "password": PASSWORD});
    world.send("POST", "/api/v1/sessions", &[], &unknown);
    assert!(
        !log.refused()[1].contains("user="),
        "the account does not exist"
    );
}

#[test]
fn a_flood_of_wrong_passwords_writes_few_lines() {
    let log = Log::start();
    let world = world(&config());
    for _ in 0..100 {
        world.sign_in_from("192.0.2.7", None, "wrong horse");
    }
    let lines = log.refused();
    assert!((10..60).contains(&lines.len()), "{}", lines.len());
    let blocked = lines
        .iter()
        .any(|it| it.contains("code=\"too_many_failed_logins\""));
    assert!(blocked, "{lines:?}");
}
