//! Opening and locking the files, and intake.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::topology;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Runtime as _, Store as _, Transport as _, Unit};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache, Loss};

#[test]
fn a_directory_in_use_is_refused_until_its_store_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let first = Embedded::open(&config).expect("it is free");
    let error = Embedded::open(&config).expect_err("it is in use");
    assert_eq!(error.code(), "data_in_use");
    drop(first);
    Embedded::open(&config).expect("it is free again");
}

/// As after `kill -9`: the kernel keeps the lock until it has freed the memory of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_waits_while_the_last_process_ends() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let ending = Embedded::open(&config).expect("it is free");
    // On a busy machine, ending takes longer than one call waits.
    let next = move || (0..30).any(|_| Embedded::open(&config).is_ok());
    let next = tokio::task::spawn_blocking(next);
    TokioRuntime::new().sleep(Duration::from_millis(100)).await;
    drop(ending);
    assert!(next.await.unwrap());
}

#[test]
fn data_of_a_later_release_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    drop(Embedded::open(&config).unwrap());
    let connection = Connection::open(directory.path().join("wingbeat.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Embedded::open(&config).expect_err("it is newer");
    assert_eq!(error.code(), "data_newer");
}

#[test]
fn a_file_that_is_not_a_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("wingbeat.db"), [7; 4096]).unwrap();
    let error = Embedded::open(&Config::new(directory.path())).expect_err("it is not a database");
    assert_eq!(error.code(), "data_unreadable");
}

#[tokio::test]
async fn low_disk_space_closes_intake_but_commits_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::new(directory.path());
    config.min_free_bytes = u64::MAX;
    let embedded = Embedded::open(&config).unwrap();
    assert!(!embedded.writable());
    embedded
        .prepare(&[Name::new("orders")], &topology())
        .await
        .expect("running work can finish");
    embedded
        .declare(&topology())
        .await
        .expect("running work can finish");
}

/// A second process must not write to the same file, whatever happened to the lock file.
#[test]
fn a_deleted_lock_file_lets_nobody_in() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let first = Embedded::open(&config).expect("it is free");
    std::fs::remove_file(directory.path().join("lock")).unwrap();
    let error = Embedded::open(&config).expect_err("it is in use");
    assert_eq!(error.code(), "data_in_use");
    drop(first);
    Embedded::open(&config).expect("it is free again");
}

/// A directory with a store, a cache and a ledger that were used.
fn used() -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    open_all(&config).expect("it is new");
    let ledger = Connection::open(directory.path().join("ledger.db")).unwrap();
    ledger.execute_batch("CREATE TABLE booking(id)").unwrap();
    drop(ledger);
    open_all(&config).expect("all files are there");
    (directory, config)
}

/// Opens what a process with a ledger opens.
fn open_all(config: &Config) -> wingbeat_core::Result<()> {
    let embedded = Embedded::open(config)?;
    embedded.admit("cache.db", Loss::Acceptable)?;
    EmbeddedCache::open(&config.path, TokioRuntime::new())?;
    embedded.admit("ledger.db", Loss::Fatal)
}

fn code(config: &Config) -> &'static str {
    open_all(config).map_or_else(|why| why.code(), |()| "opened")
}

#[test]
fn a_store_that_was_lost_or_emptied_is_noticed() {
    for keeps_list in [true, false] {
        for content in [None, Some(0)] {
            let (directory, config) = used();
            let store = directory.path().join("wingbeat.db");
            std::fs::remove_file(&store).unwrap();
            if let Some(length) = content {
                std::fs::write(&store, vec![0; length]).unwrap();
            }
            if !keeps_list {
                std::fs::remove_file(directory.path().join("wingbeat.files")).unwrap();
            }
            for _ in 0..2 {
                assert_eq!(code(&config), "data_lost", "{content:?}, {keeps_list}");
            }
        }
    }
}

#[test]
fn a_ledger_that_was_lost_or_emptied_is_noticed() {
    for content in [None, Some(0)] {
        let (directory, config) = used();
        let ledger = directory.path().join("ledger.db");
        std::fs::remove_file(&ledger).unwrap();
        if let Some(length) = content {
            std::fs::write(&ledger, vec![0; length]).unwrap();
        }
        assert_eq!(code(&config), "data_lost", "{content:?}");
    }
}

#[test]
fn a_cache_that_was_lost_is_created_again() {
    let (directory, config) = used();
    std::fs::remove_file(directory.path().join("cache.db")).unwrap();
    assert_eq!(code(&config), "opened");
}

#[test]
fn files_of_another_directory_are_noticed() {
    for file in ["wingbeat.db", "ledger.db", "cache.db"] {
        let ((directory, config), (other, _)) = (used(), used());
        std::fs::copy(other.path().join(file), directory.path().join(file)).unwrap();
        assert_eq!(code(&config), "data_mixed", "{file}");
    }
}

/// Data of a release whose files carried no number.
#[test]
fn older_data_is_adopted() {
    let (directory, config) = used();
    std::fs::remove_file(directory.path().join("wingbeat.files")).unwrap();
    for file in ["wingbeat.db", "ledger.db", "cache.db"] {
        let connection = Connection::open(directory.path().join(file)).unwrap();
        connection.pragma_update(None, "application_id", 0).unwrap();
    }
    assert_eq!(code(&config), "opened");
    std::fs::write(directory.path().join("ledger.db"), []).unwrap();
    assert_eq!(code(&config), "data_lost", "it belongs to them from now on");
}

/// The directory of the child process that damages its own store.
const DAMAGED: &str = "WINGBEAT_DAMAGED_DATA";

/// The child: commits after the pages of its store were zeroed.
#[tokio::test]
async fn damaged_child() {
    let Ok(data) = std::env::var(DAMAGED) else {
        return; // Not started as a child.
    };
    let embedded = Embedded::open(&Config::new(&data)).expect("what it opens is whole");
    let answer = embedded.commit(Arc::new(vec![unit(2)])).await;
    println!("answered: {answer:?}");
}

/// A unit that writes a record.
fn unit(number: u128) -> Unit {
    let id = uuid::Uuid::from_u128(number).into();
    let mut unit = Unit::new(id, Name::new("orders"), wingbeat_core::Timestamp::default());
    unit.writes.push(Write {
        key: Key::new(Name::new("order"), number.to_string()),
        body: Some("{}".into()),
        due_at: None,
        expires_at: None,
    });
    unit
}

/// Damage never heals: the process ends instead of submitting the same units again.
#[tokio::test]
async fn damage_ends_the_process_with_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let embedded = Embedded::open(&config).unwrap();
    embedded
        .prepare(&[Name::new("orders")], &topology())
        .await
        .unwrap();
    embedded.commit(Arc::new(vec![unit(1)])).await.unwrap();
    drop(embedded);
    let file = directory.path().join("wingbeat.db");
    let connection = Connection::open(&file).unwrap();
    let page: i64 = connection
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'record'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&file).unwrap();
    let start = usize::try_from(page - 1).unwrap() * 4096;
    bytes[start..start + 4096].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::damaged_child", "--nocapture"])
        .env(DAMAGED, directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.code(), Some(2), "{errors}");
    let lines: Vec<_> = errors
        .lines()
        .filter(|it| it.contains("store_corrupt"))
        .collect();
    assert_eq!(lines.len(), 1, "{errors}");
}

#[cfg(unix)]
mod private {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use wingbeat::TokioRuntime;
    use wingbeat_embedded::{Config, Embedded, EmbeddedCache, private_directory};

    fn mode(path: &Path) -> u32 {
        metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn files(directory: &Path) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|entry| entry.unwrap().path()).collect()
    }

    /// Opens the store and the cache, and checks the modes of the directory and of all files.
    fn open_and_check(directory: &Path) {
        let embedded = Embedded::open(&Config::new(directory)).unwrap();
        let cache = EmbeddedCache::open(directory, TokioRuntime::new()).unwrap();
        assert_eq!(mode(directory), 0o700);
        let files = files(directory);
        assert!(files.len() >= 5, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        drop((embedded, cache));
    }

    #[tokio::test]
    async fn only_the_owner_can_read_the_data() {
        let folder = tempfile::tempdir().unwrap();
        open_and_check(&folder.path().join("data"));
    }

    #[tokio::test]
    async fn data_that_others_could_read_is_restricted() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("data");
        open_and_check(&directory);
        for file in files(&directory) {
            set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        for beside in ["wingbeat.db-wal", "wingbeat.db-shm"] {
            let beside = directory.join(beside);
            std::fs::write(&beside, []).unwrap();
            set_permissions(beside, Permissions::from_mode(0o644)).unwrap();
        }
        set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        open_and_check(&directory);
    }

    #[test]
    fn a_directory_that_all_users_share_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        private_directory(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o1777);
    }
}
