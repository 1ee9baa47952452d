//! A container without a container engine: a read-only root file system with only the program and
//! the libraries that it is linked with, `/tmp` in memory, an unprivileged user, and an empty
//! environment.
//!
//! Bubblewrap sets it up, with `setpriv` if the tests run as root. On a machine that allows it to
//! neither the user nor root, these tests fail.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::process::binary;

/// Becomes the user of the images and can never become another one.
const NOBODY: &[&str] = &[
    "--reuid",
    "65532",
    "--regid",
    "65532",
    "--clear-groups",
    "--no-new-privs",
];

/// The user who sets the sandbox up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The unprivileged user itself, where the kernel lets users create namespaces.
    AsNobody,
    /// Root, who becomes the unprivileged user inside.
    AsRoot,
}

/// A sandbox for the program.
pub struct Sandbox {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
    /// `true` if it has a writable `/data`.
    data: bool,
}

impl Default for Sandbox {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The unprivileged user reads the program and the secrets, and writes its data.
        open(folder.path(), 0o755);
        for (name, mode) in [("secrets", 0o755), ("data", 0o777)] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            open(&path, mode);
        }
        let program = folder.path().join("shop");
        fs::copy(binary(), &program).unwrap();
        open(&program, 0o755);
        Self {
            folder,
            env: Vec::new(),
            data: false,
        }
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

impl Sandbox {
    /// Sets a variable of the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Mounts a volume at `/data`.
    #[must_use]
    pub fn with_data(mut self) -> Self {
        self.data = true;
        self
    }

    /// Sets a variable `<name>_FILE` to the path of a secret with this value.
    #[must_use]
    pub fn secret(self, name: &str, value: &str) -> Self {
        let file = name.to_ascii_lowercase();
        fs::write(self.secret_file(&file), value).unwrap();
        open(&self.secret_file(&file), 0o444);
        self.with(&format!("{name}_FILE"), &format!("/run/secrets/{file}"))
    }

    /// The path of a secret outside the sandbox.
    #[must_use]
    pub fn secret_file(&self, file: &str) -> PathBuf {
        self.folder.path().join("secrets").join(file)
    }

    /// Forbids the user of the sandbox to read a secret.
    pub fn hide(&self, file: &str) {
        open(&self.secret_file(file), 0o000);
    }

    /// The program in the sandbox, not yet started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        static WAY: OnceLock<Way> = OnceLock::new();
        let way = WAY.get_or_init(|| self.find_way());
        let mut command = self.enter(*way);
        command.arg("/shop").args(args).stdin(Stdio::null());
        command
    }

    /// The first way that this machine allows.
    fn find_way(&self) -> Way {
        let mut refusals = String::new();
        for way in [Way::AsNobody, Way::AsRoot] {
            let tried = self.enter(way).args(["/shop", "--version"]).output();
            match tried {
                Ok(output) if output.status.success() => return way,
                Ok(output) => refusals += &String::from_utf8_lossy(&output.stderr),
                Err(why) => refusals += &format!("bwrap or setpriv: {why}\n"),
            }
        }
        panic!("this machine allows no sandbox: {refusals}")
    }

    fn enter(&self, way: Way) -> Command {
        let mut words: Vec<&str> = match (way, is_root()) {
            (Way::AsNobody, false) | (Way::AsRoot, true) => Vec::new(),
            (Way::AsNobody, true) => [&["setpriv"], NOBODY, &["--"]].concat(),
            (Way::AsRoot, false) => vec!["sudo", "-n"],
        };
        words.push("bwrap");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args(["--tmpfs", "/", "--die-with-parent"]);
        for libraries in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"] {
            command.args(["--ro-bind-try", libraries, libraries]);
        }
        for (how, name, place) in [
            ("--ro-bind", "shop", "/shop"),
            ("--ro-bind", "secrets", "/run/secrets"),
            ("--bind", "data", "/data"),
        ] {
            if place == "/data" && !self.data {
                continue;
            }
            command
                .arg(how)
                .arg(self.folder.path().join(name))
                .arg(place);
        }
        command.args(["--dev", "/dev", "--tmpfs", "/tmp"]);
        if way == Way::AsRoot {
            command.args(["--ro-bind", "/usr/bin/setpriv", "/setpriv"]);
            for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"] {
                command.args(["--cap-add", capability]);
            }
        }
        command.args(["--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]);
        for (name, value) in &self.env {
            command.args(["--setenv", name, value]);
        }
        command.arg("--");
        if way == Way::AsRoot {
            command.arg("/setpriv").args(NOBODY);
            command.args(["--bounding-set", "-all", "--"]);
        }
        command
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
