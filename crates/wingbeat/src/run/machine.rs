//! The memory of the process and the disk of its data directory.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use crate::overload::{Probe, Watermark, Watermarks};

/// The size of a disk below which the default watermarks are parts of its size.
const SMALL_DISK: u64 = 10 << 30;

/// The machine on which the process runs.
pub(super) struct Machine {
    /// The limit of the memory in bytes; `None` if there is none.
    memory: Option<u64>,
    /// The data directory of the embedded store.
    data: Option<PathBuf>,
}

impl Machine {
    /// Creates a probe. `memory` is the limit that is set, in bytes; the default is that of the
    /// control group.
    pub(super) fn new(memory: Option<u64>, data: Option<PathBuf>) -> Self {
        let memory = memory.or_else(limit_of_group).filter(|limit| *limit > 0);
        Self { memory, data }
    }

    /// Fits the default watermarks of the disk to a small one.
    pub(super) fn fitted(&self, marks: Watermarks) -> Watermarks {
        let is_default = marks.disk == Watermarks::default().disk;
        match self.disk_size().filter(|_| is_default) {
            Some(size) => Watermarks {
                disk: Some(of_disk(size)),
                ..marks
            },
            None => marks,
        }
    }

    /// Returns the size of the disk, if it is small.
    #[cfg(unix)]
    fn disk_size(&self) -> Option<u64> {
        let size = disk(self.data.as_ref()?)?.size;
        (size < SMALL_DISK).then_some(size)
    }

    #[cfg(not(unix))]
    fn disk_size(&self) -> Option<u64> {
        None
    }
}

impl Probe for Machine {
    fn memory_percent(&self) -> Option<u64> {
        let limit = self.memory?;
        let used = resident(&read_to_string("/proc/self/status").ok()?)?;
        Some(used.saturating_mul(100) / limit)
    }

    #[cfg(unix)]
    fn disk_free(&self) -> Option<u64> {
        Some(disk(self.data.as_ref()?)?.free)
    }
}

/// A disk, in bytes.
#[cfg(unix)]
struct Disk {
    size: u64,
    free: u64,
}

/// Returns the disk of a path.
#[cfg(unix)]
#[allow(clippy::unnecessary_cast, reason = "narrower on other systems")]
fn disk(path: &Path) -> Option<Disk> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size() as u64);
    Some(Disk {
        size: bytes(disk.blocks() as u64),
        free: bytes(disk.blocks_available() as u64),
    })
}

/// Returns the watermarks for a disk of this size.
fn of_disk(size: u64) -> Watermark {
    Watermark {
        high: size / 20,
        low: size / 40 * 3,
    }
}

/// Returns the resident memory without mapped files, in bytes. The system can reclaim mapped files
/// at any time.
fn resident(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let all = kib("VmRSS:")?;
    Some(all.saturating_sub(kib("RssFile:").unwrap_or(0)) << 10)
}

/// Returns the smallest limit of the control group of this process and of those above it.
fn limit_of_group() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    limits(&groups, &|path| read_to_string(path).ok())
}

/// The limits of version 2 of control groups are in `memory.max`, those of version 1 in
/// `memory.limit_in_bytes`. In a container, the files of its own group are at the root.
fn limits(groups: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let found = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next(), parts.next());
        let (root, file) = match controllers {
            Some("") => ("/sys/fs/cgroup", "memory.max"),
            Some(it) if it.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let group = Path::new(group.unwrap_or_default().trim_start_matches('/'));
        let limit = |group: &Path| {
            let limit = read(&Path::new(root).join(group).join(file))?;
            limit.trim().parse::<u64>().ok() // `max` stands for none.
        };
        group.ancestors().filter_map(limit).collect()
    });
    // Version 1 writes a number near 2^63 if there is no limit.
    found.filter(|limit| *limit < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_files_are_no_memory_in_use() {
        let status = "Name:\tshop\nVmRSS:\t  2048 kB\nRssAnon:\t 1024 kB\nRssFile:\t 1024 kB\n";
        assert_eq!(resident(status), Some(1 << 20));
        assert_eq!(resident("VmRSS:\t 4 kB\n"), Some(4 << 10));
        assert_eq!(resident("Name:\tshop\n"), None);
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_the_process_counts() {
        let files = |files: &'static [(&str, &str)]| {
            move |path: &Path| {
                let file = files.iter().find(|(name, _)| Path::new(name) == path);
                file.map(|(_, text)| (*text).to_owned())
            }
        };
        let two = files(&[
            ("/sys/fs/cgroup/shop/memory.max", "512\n"),
            ("/sys/fs/cgroup/shop/one/memory.max", "max\n"),
        ]);
        assert_eq!(limits("0::/shop/one\n", &two), Some(512));
        let container = files(&[("/sys/fs/cgroup/memory.max", "256\n")]);
        assert_eq!(limits("0::/\n", &container), Some(256));
        let one = files(&[
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712",
            ),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1024"),
        ]);
        assert_eq!(limits("3:cpu:/a\n2:memory:/a\n", &one), Some(1024));
        assert_eq!(limits("2:memory:/\n", &one), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_is_read() {
        let here = Some(PathBuf::from("/proc/self"));
        assert!(Machine::new(Some(1 << 10), here).memory_percent() > Some(100));
        let disk = Machine::new(None, Some(std::env::temp_dir()));
        assert!(disk.disk_free().is_some());
    }

    #[test]
    fn a_small_disk_has_small_watermarks_unless_they_are_set() {
        let small = of_disk(1 << 30);
        assert_eq!((small.high >> 20, small.low >> 20), (51, 76));
        let set = Watermark { high: 1, low: 2 };
        let marks = Watermarks {
            disk: Some(set),
            ..Watermarks::default()
        };
        let here = Machine::new(None, Some(std::env::temp_dir()));
        assert_eq!(here.fitted(marks).disk, Some(set));
        let without = Machine::new(None, None);
        assert_eq!(without.fitted(Watermarks::default()), Watermarks::default());
    }
}
