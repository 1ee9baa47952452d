//! A process group that ends with the test process.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits until its input ends, which happens when this process ends, however it ends. Then it removes the folder and
/// kills its own process group.
const LEADER: &str = r#"cat >/dev/null; rm -rf "$1"; kill -9 0"#;

/// A process group and the folder that its processes share. Both are gone after a drop, and also after a panic, an
/// abort or a `kill -9` of the test: fleets that tests share live in statics, which are never dropped.
pub(crate) struct Group {
    leader: Child,
}

impl Group {
    /// Starts the leader of a group whose processes write to `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let leader = Command::new("sh")
            .args(["-c", LEADER, "leader"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { leader }
    }

    /// Makes the process of this command a member.
    pub(crate) fn join(&self, command: &mut Command) {
        command.process_group(self.leader.id().try_into().unwrap());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.leader.stdin.take());
        drop(self.leader.wait());
    }
}
