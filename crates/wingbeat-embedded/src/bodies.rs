//! Large bodies in files.
//!
//! A body is the file `<day>/<digest>`. It is written under another name, synced and renamed, so a
//! crash leaves no part of a body under its name. What it leaves is deleted with its day. A marker
//! tells an empty directory from one whose volume is not mounted.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::bodies::{BodyRef, UNAVAILABLE};
use wingbeat_core::{Bodies, Error, Result};

use crate::private::{new_private_file, private_directory};

/// The marker of a directory that was prepared.
const MARKER: &str = "wingbeat-bodies";
/// The beginning of the names of files that are being written.
const UNFINISHED: &str = ".";

/// A store of large bodies in a directory of files.
///
/// Several processes may share the directory, also over a network, if renaming a file and syncing
/// it work there. Only the owner of the directory can read it.
///
/// ```
/// use wingbeat_core::Bodies;
/// use wingbeat_core::bodies::BodyRef;
/// use wingbeat_embedded::FileBodies;
///
/// # async fn keep() -> wingbeat_core::Result<()> {
/// # let folder = tempfile::tempdir().expect("a directory");
/// # let folder = folder.path();
/// let bodies = FileBodies::new(folder.join("bodies"));
/// bodies.prepare().await?;
/// let at = BodyRef { day: 20_000, size: 3, digest: [7; 32] };
/// bodies.put(at, "abc".into()).await?;
/// assert_eq!(bodies.get(at).await?, Some("abc".into()));
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(keep()).unwrap();
/// ```
///
/// # Errors
///
/// Methods of the port fail with `bodies_unavailable` if the disk is full or fails, or if the
/// directory is not there.
#[derive(Debug)]
pub struct FileBodies {
    files: Arc<Files>,
}

#[derive(Debug)]
struct Files {
    root: PathBuf,
    /// Makes the names of unfinished files differ.
    number: AtomicU64,
    /// The last day whose directory this process has made durable.
    made: Mutex<Option<u32>>,
}

impl FileBodies {
    /// Creates a store in a directory, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Arc<Self> {
        let files = Files {
            root: root.into(),
            number: AtomicU64::new(0),
            made: Mutex::default(),
        };
        Arc::new(Self {
            files: Arc::new(files),
        })
    }

    /// Runs work with files on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let files = Arc::clone(&self.files);
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        let done = done.map_err(io::Error::other).flatten();
        done.map_err(|why| {
            let root = self.files.root.display();
            let text = format!("the large bodies in {root} cannot be used");
            Error::retry(UNAVAILABLE, text).because(why)
        })
    }
}

impl Bodies for FileBodies {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.run(Files::prepare))
    }

    fn put(&self, at: BodyRef, body: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.run(move |files| files.put(&at, &body)))
    }

    fn get(&self, at: BodyRef) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(self.run(move |files| files.get(&at)))
    }

    fn sweep(&self, day: u32, limit: usize) -> BoxFuture<'_, Result<usize>> {
        Box::pin(self.run(move |files| files.sweep(day, limit)))
    }
}

impl Files {
    fn prepare(&self) -> io::Result<()> {
        private_directory(&self.root)?;
        let marker = self.root.join(MARKER);
        match new_private_file(&marker) {
            Err(why) if why.kind() != ErrorKind::AlreadyExists => return Err(why),
            _ => {}
        }
        sync(&self.root)?;
        // The directory itself is an entry of its parent.
        self.root.parent().map_or(Ok(()), |parent| {
            let is_current = parent.as_os_str().is_empty();
            sync(if is_current { Path::new(".") } else { parent })
        })
    }

    /// Checks that the directory is the prepared one.
    fn check(&self) -> io::Result<()> {
        fs::metadata(self.root.join(MARKER)).map(drop)
    }

    fn day(&self, day: u32) -> PathBuf {
        self.root.join(day.to_string())
    }

    fn put(&self, at: &BodyRef, body: &[u8]) -> io::Result<()> {
        self.check()?;
        let day = self.make(at.day)?;
        let target = day.join(at.hex());
        let length = fs::metadata(&target).map(|it| it.len()).ok();
        if length != Some(body.len() as u64) {
            let (mut file, unfinished) = self.new_file(&day, &at.hex())?;
            let written = file.write_all(body).and_then(|()| file.sync_all());
            drop(file);
            if let Err(why) = written.and_then(|()| fs::rename(&unfinished, &target)) {
                // The space may be needed; what cannot be deleted is swept with its day.
                let _ = fs::remove_file(&unfinished);
                return Err(why);
            }
        }
        // Also for a file that another process has renamed and not synced yet.
        sync(&day)
    }

    /// Returns the directory of a day, which is durable then.
    fn make(&self, day: u32) -> io::Result<PathBuf> {
        let path = self.day(day);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if *made != Some(day) || !path.exists() {
            private_directory(&path)?;
            sync(&self.root)?;
            *made = Some(day);
        }
        Ok(path)
    }

    /// Creates a file under a name that no other process uses.
    fn new_file(&self, day: &Path, name: &str) -> io::Result<(File, PathBuf)> {
        let process = std::process::id();
        loop {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let path = day.join(format!("{UNFINISHED}{name}.{process}.{number}"));
            match new_private_file(&path) {
                Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
                created => return created.map(|file| (file, path)),
            }
        }
    }

    fn get(&self, at: &BodyRef) -> io::Result<Option<Bytes>> {
        let file = match File::open(self.day(at.day).join(at.hex())) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return self.check().map(|()| None),
            Err(why) => return Err(why),
        };
        let mut body = Vec::new();
        file.take(at.size.saturating_add(1))
            .read_to_end(&mut body)?;
        Ok(Some(body.into()))
    }

    fn sweep(&self, before: u32, limit: usize) -> io::Result<usize> {
        self.check()?;
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let day = entry?.file_name().to_str().and_then(|it| it.parse().ok());
            days.extend(day.filter(|day: &u32| *day < before));
        }
        days.sort_unstable();
        let mut deleted = 0;
        for day in days {
            deleted += self.sweep_day(day, limit - deleted)?;
            if deleted == limit {
                break;
            }
        }
        Ok(deleted)
    }

    /// Deletes at most `limit` files of a day, and its directory once it is empty.
    fn sweep_day(&self, day: u32, limit: usize) -> io::Result<usize> {
        let path = self.day(day);
        let mut deleted = 0;
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(0),
            Err(why) => return Err(why),
        };
        for entry in entries {
            if deleted == limit {
                return Ok(deleted);
            }
            deleted += usize::from(remove(&entry?.path())?);
        }
        match fs::remove_dir(&path) {
            // Another process has deleted it, or a body has come that is due for deletion, too.
            Err(why)
                if !matches!(
                    why.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(why)
            }
            _ => Ok(deleted),
        }
    }
}

/// Deletes a file. Returns `false` if another process has deleted it.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

/// Makes the entries of a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
