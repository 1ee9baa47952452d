//! The temporary folder of an instance, and the watchdog that cleans up.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The script of the watchdog. Its standard input ends when the process that started it does. Then
/// it ends the process groups in the file `groups`, runs the script `last` if there is one, and
/// removes the folder.
const WATCHDOG: &str = r#"
cat >/dev/null
while read -r group; do kill -3 "-$group" 2>/dev/null; done < "$1/groups"
sleep 0.3
while read -r group; do kill -9 "-$group" 2>/dev/null; done < "$1/groups"
[ -f "$1/last" ] && sh "$1/last" >/dev/null 2>&1
rm -rf "$1"
"#;

/// A temporary folder with a watchdog.
pub(crate) struct Folder {
    temporary: Option<TempDir>,
    path: PathBuf,
    watchdog: Child,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let temporary = tempfile::Builder::new()
            .prefix(&format!("wingbeat-{name}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be created");
        let path = temporary.path().to_owned();
        fs::write(path.join("groups"), "").expect("the temporary folder can be written");
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        Self {
            temporary: Some(temporary),
            path,
            watchdog,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the watchdog end a process group.
    pub(crate) fn watch(&self, group: u32) {
        let mut groups = OpenOptions::new()
            .append(true)
            .open(self.path.join("groups"))
            .expect("the watchdog's list can be opened");
        writeln!(groups, "{group}").expect("the watchdog's list can be written");
    }

    /// Makes the watchdog run a script after the servers have ended.
    pub(crate) fn run_last(&self, script: &str) {
        fs::write(self.path.join("last"), script).expect("the temporary folder can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The watchdog removes the folder. Removing it here as well would race with it.
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}
