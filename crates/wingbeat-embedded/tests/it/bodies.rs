//! Large bodies in files: the contract, and what crashes and volumes do to files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tempfile::TempDir;
use wingbeat_core::Bodies;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::conformance::bodies::{Fixture, Test};
use wingbeat_embedded::FileBodies;

use crate::conformance::block_on;
use crate::setup;

const BODY: BodyRef = BodyRef {
    day: 7,
    size: 3,
    digest: [0xab; 32],
};

struct InFiles(TempDir);

impl Fixture for InFiles {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bodies>> {
        let bodies: Arc<dyn Bodies> = FileBodies::new(self.0.path().join("bodies"));
        Box::pin(std::future::ready(bodies))
    }
}

fn run(test: Test) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async { test(Arc::new(InFiles(directory))).await });
}

mod contract {
    wingbeat_core::bodies_conformance!(super::run);
}

/// Returns a prepared store with one body, and its file.
async fn with_body(root: &Path) -> (Arc<FileBodies>, std::path::PathBuf) {
    let bodies = FileBodies::new(root);
    bodies.prepare().await.unwrap();
    bodies.put(BODY, "abc".into()).await.unwrap();
    (bodies, root.join("7").join("ab".repeat(32)))
}

#[test]
fn only_the_owner_can_read_the_files() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("bodies");
        let (_, file) = with_body(&root).await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&root), mode(&root.join("7")), mode(&file)),
            (0o700, 0o700, 0o600)
        );
    });
}

/// A process that was killed while it wrote leaves a file under another name.
#[test]
fn an_unfinished_file_is_no_body_and_is_deleted_with_its_day() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (bodies, file) = with_body(directory.path()).await;
        let unfinished = file.with_file_name(format!(".{}.1.0", "ab".repeat(32)));
        fs::rename(&file, &unfinished).unwrap();
        assert_eq!(bodies.get(BODY).await.unwrap(), None);
        bodies.put(BODY, "abc".into()).await.unwrap();
        assert_eq!(bodies.get(BODY).await.unwrap(), Some("abc".into()));
        assert_eq!(bodies.sweep(8, 10).await.unwrap(), 2);
        assert!(!directory.path().join("7").exists());
    });
}

/// A process with the same number may have left files of the same names, such as in a container.
#[test]
fn files_of_a_killed_process_with_the_same_number_are_left_alone() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let bodies = FileBodies::new(directory.path());
        bodies.prepare().await.unwrap();
        let day = directory.path().join("7");
        fs::create_dir(&day).unwrap();
        let process = std::process::id();
        let left = day.join(format!(".{}.{process}.0", "ab".repeat(32)));
        fs::write(&left, "a").unwrap();
        bodies.put(BODY, "abc".into()).await.unwrap();
        assert_eq!(bodies.get(BODY).await.unwrap(), Some("abc".into()));
        assert_eq!(fs::read(&left).unwrap(), b"a");
    });
}

#[test]
fn a_file_that_was_cut_off_is_written_again() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (bodies, file) = with_body(directory.path()).await;
        fs::write(&file, "a").unwrap();
        bodies.put(BODY, "abc".into()).await.unwrap();
        assert_eq!(bodies.get(BODY).await.unwrap(), Some("abc".into()));
    });
}

/// The empty directory of a volume that is not mounted must not make dead letters.
#[test]
fn a_directory_that_was_not_prepared_is_unavailable_and_contains_no_absent_bodies() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let bodies = FileBodies::new(directory.path());
        for error in [
            bodies.get(BODY).await.unwrap_err(),
            bodies.put(BODY, "abc".into()).await.unwrap_err(),
            bodies.sweep(8, 10).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "bodies_unavailable");
        }
        bodies.prepare().await.unwrap();
        assert_eq!(bodies.get(BODY).await.unwrap(), None);
    });
}

/// A service on files beside the embedded database.
mod service {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use serde::{Deserialize, Serialize};
    use wingbeat::runtime::TaskGroup;
    use wingbeat::{
        App, Entity, Error, Event, JsonSchema, Result, Running, Service, Table, TokioRuntime,
        run_unit, schemars,
    };
    use wingbeat_core::{Name, Runtime as _};
    use wingbeat_embedded::{Config, Embedded};

    use super::*;

    const LARGE: usize = 5 << 20;
    const ARCHIVE: Name = Name::new("archive");

    #[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
    #[event(name = "docs.scanned", version = 1, key = doc)]
    struct Scanned {
        doc: String,
        pages: String,
    }

    #[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
    struct Received {
        times: u32,
        size: usize,
    }

    impl Entity for Received {
        const NAME: &'static str = "received";
        type Id = String;
    }

    async fn receive(event: Scanned, table: Table<Received>) -> Result<()> {
        let change = |before: Option<Received>| Received {
            times: before.unwrap_or_default().times + 1,
            size: event.pages.len(),
        };
        table.update(&event.doc, change).await.map(drop)
    }

    async fn start(directory: &Path, full: &Arc<AtomicBool>) -> (Arc<TaskGroup>, Running) {
        let full = Arc::clone(full);
        let archive = move |event: Scanned, table: Table<Received>| {
            let full = full.load(Ordering::SeqCst);
            async move {
                if full {
                    return Err(Error::reject("full", "the shelves are full"));
                }
                receive(event, table).await
            }
        };
        let runtime = TaskGroup::new(TokioRuntime::new());
        let embedded = Embedded::open(&Config::new(directory)).unwrap();
        let ports = setup::ports(runtime.clone(), &embedded, directory);
        let app = App::new()
            .service(Service::new("docs").publishes::<Scanned>())
            .service(Service::new("index").on(receive))
            .service(Service::new("archive").on(archive));
        let running = app.start(ports).await.unwrap();
        (runtime, running)
    }

    /// Waits for a condition. Returns whether it came true.
    async fn until(mut condition: impl AsyncFnMut() -> bool) -> bool {
        for _ in 0..4_000 {
            if condition().await {
                return true;
            }
            TokioRuntime::new().sleep(Duration::from_millis(5)).await;
        }
        false
    }

    async fn until_received(running: &Running, service: &str) {
        let once = Received {
            times: 1,
            size: LARGE,
        };
        let reads = running.reads(service).unwrap();
        let received = async || {
            let received = reads.entity::<Received>(&"a".to_owned()).await;
            received.unwrap().as_ref() == Some(&once)
        };
        assert!(until(received).await, "{service} receives the document");
    }

    #[test]
    fn a_large_body_reaches_every_subscriber_and_a_dead_letter_is_retried() {
        block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let full = Arc::new(AtomicBool::new(true));
            let (tasks, running) = start(directory.path(), &full).await;
            let scanned = Scanned {
                doc: "a".into(),
                pages: "p".repeat(LARGE),
            };
            let service = running.service("docs").unwrap();
            let published = run_unit(&service, |scope| {
                let scanned = scanned.clone();
                async move { scope.publish(&scanned) }
            });
            published.await.unwrap();
            until_received(&running, "index").await;
            let refused = until(async || running.dead_letters(ARCHIVE).await.unwrap().len() == 1);
            assert!(refused.await, "the archive refuses it");
            let database = fs::metadata(Config::new(directory.path()).file()).unwrap();
            assert!(
                database.len() < LARGE as u64 / 2,
                "it contains the reference"
            );
            tasks.kill().await;
            drop((running, service, tasks));
            full.store(false, Ordering::SeqCst);
            let (_tasks, running) = start(directory.path(), &full).await;
            let letters = running.dead_letters(ARCHIVE).await.unwrap();
            let retried = running.retry_dead_letter(ARCHIVE, letters[0].id);
            assert!(retried.await.unwrap());
            until_received(&running, "archive").await;
            running.drain().await;
        });
    }
}
