//! Everything that a process inherits is input: environment, standard streams, signals, limits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use shop_client::Order;
use shop_e2e::process::Place;
use shop_e2e::wait::BOUND;

use crate::start::assert_refused;

/// Not UTF-8.
const BROKEN: &[u8] = b"\xff\xfe";

/// The program at this place, started by a shell that prepares it.
fn prepared(place: &Place, prepare: &str) -> Command {
    let program = place.command();
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{prepare}; exec \"$0\" \"$@\""))
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

/// Starts the program, completes an order, and ends it with `SIGTERM`.
async fn works(place: &Place, command: Command) {
    let running = place.start_as(command).await;
    let shopper = place.shop().shoppers(1).await.unwrap().remove(0);
    let order = Order::of([("WB-BELL-01".into(), 1)]);
    let placed = shopper.place(&order, BOUND).await.unwrap();
    let ended = shopper.wait_ended(&placed.order_id, BOUND).await;
    assert_eq!(ended.unwrap().status, "completed");
    assert_eq!(running.terminate().code(), Some(0));
}

#[tokio::test]
async fn foreign_variables_that_are_not_utf8_do_not_matter() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("50ms");
    let mut command = place.command();
    for name in ["SOMEBODY", "LANG", "TZ", "NO_COLOR", "RUST_LOG", "TMPDIR"] {
        command.env(name, OsStr::from_bytes(BROKEN));
    }
    command.env(OsStr::from_bytes(BROKEN), "a name that is not UTF-8");
    works(&place, command).await;
}

#[test]
fn our_variables_that_are_not_utf8_are_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    for name in [
        "WINGBEAT_LOG_FORMAT",
        "WINGBEAT_URL_ORDERS",
        "SHOP_ADMIN_PASSWORD",
        "TOKIO_WORKER_THREADS",
    ] {
        let mut command = Place::new(data.path()).command();
        command.env(name, OsStr::from_bytes(BROKEN));
        command.stderr(Stdio::piped());
        assert_refused(&command.output().unwrap(), &[name]);
    }
}

#[tokio::test]
async fn closed_and_full_streams_do_not_matter() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("50ms");
    works(&place, prepared(&place, "exec <&- >&- 2>&-")).await;
    works(&place, prepared(&place, "exec >/dev/full 2>/dev/full")).await;

    // A reader that has gone.
    let mut command = place.command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    works(&place, command).await;
}

#[test]
fn a_command_whose_result_cannot_be_written_fails() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path());
    let program = place.command().get_program().to_owned();
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = Command::new(program);
    command
        .args(["simulate", "--seed", "1", "--json"])
        .stdout(full.unwrap())
        .stderr(Stdio::piped());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot be written"), "{stderr}");
}

#[tokio::test]
async fn ignored_signals_are_handled_as_usual() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("50ms");
    works(&place, prepared(&place, "trap '' TERM INT HUP PIPE CHLD")).await;
}

#[tokio::test]
async fn blocked_signals_are_handled_as_usual() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("50ms");
    let prepare = "exec env --block-signal \"$0\" \"$@\"";
    works(&place, prepared(&place, prepare)).await;
}

/// With too few descriptors to start, the reason is one line.
#[test]
fn too_few_descriptors_are_reported_in_one_line() {
    for limit in [5, 6, 7, 8, 10, 13, 16, 20, 24, 28] {
        let data = tempfile::tempdir().unwrap();
        let place = Place::new(data.path());
        let mut command = prepared(&place, &format!("ulimit -n {limit}"));
        command.stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert_refused(&output, &[]);
        if limit <= 10 {
            assert_refused(&output, &["Too many open files"]);
        }
    }
}
