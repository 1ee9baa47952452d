//! Keeps the data from other users of the machine: directories with mode 0700, files with 0600.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// The endings of the files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Creates a data directory that only its owner can use, or restricts an existing one to its owner.
///
/// A directory that many users share, such as `/tmp`, keeps its mode; so does one of another owner.
/// Both cause a warning. On systems without Unix modes, this only creates the directory.
///
/// ```
/// # use std::os::unix::fs::PermissionsExt as _;
/// # fn main() -> std::io::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let data = folder.join("data");
/// wingbeat_embedded::private_directory(&data)?;
/// assert_eq!(std::fs::metadata(&data)?.permissions().mode() & 0o777, 0o700);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// That of the system if the directory cannot be created or examined.
pub fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    restrict(path, 0o700)
}

/// Creates a file that only its owner can read, or restricts an existing one and the files that
/// SQLite keeps beside it. SQLite gives new files beside a database the mode of the database.
pub(crate) fn private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    restrict(path, 0o600)?;
    for ending in BESIDE {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        let beside = Path::new(&beside);
        if beside.exists() {
            restrict(beside, 0o600)?;
        }
    }
    Ok(())
}

/// Creates a new file that only its owner can read.
pub(crate) fn new_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const STICKY: u32 = 0o1000;
    const OTHERS: u32 = 0o077;
    let found = fs::metadata(path)?.permissions().mode();
    if found & OTHERS == 0 {
        return Ok(());
    }
    let shown = path.display();
    if found & STICKY != 0 {
        tracing::warn!(
            "{shown} is shared by all users of this machine: use a directory of its own for the data"
        );
        return Ok(());
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!("other users can read {shown}, which belongs to somebody else");
            Ok(())
        }
        result => result,
    }
}

#[cfg(not(unix))]
fn restrict(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}
