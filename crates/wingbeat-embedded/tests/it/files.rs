//! Opening and locking the files, and intake.

use std::time::Duration;

use rusqlite::Connection;
use wingbeat::TokioRuntime;
use wingbeat_core::conformance::topology;
use wingbeat_core::{Name, Runtime as _, Store as _, Transport as _};
use wingbeat_embedded::{Config, Embedded};

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
