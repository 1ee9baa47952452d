//! The number of worker threads.

use std::ffi::OsStr;

use super::settings::SettingsError;

/// The variable that overrides the number. tokio reads it too, and panics if it is wrong; so tokio
/// is always given a number.
pub(super) const VARIABLE: &str = "TOKIO_WORKER_THREADS";
/// More threads than any machine has cores for.
const MOST: usize = 1_024;

/// Returns the number of worker threads: the one that is set, or one for each service of a process
/// with few services. A task that wakes on another thread costs about a tenth more.
pub(super) fn number(
    set: Option<&OsStr>,
    services: Option<usize>,
    cores: usize,
) -> Result<usize, SettingsError> {
    let Some(set) = set else {
        return Ok(services.unwrap_or(cores).clamp(1, cores.max(1)));
    };
    let number = set.to_str().and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| SettingsError::Invalid {
        origin: VARIABLE.into(),
        value: set.to_string_lossy().into_owned(),
        expected: format!("a number from 1 to {MOST}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_thread_for_each_service_up_to_its_cores() {
        assert_eq!(number(None, Some(1), 8), Ok(1));
        assert_eq!(number(None, Some(9), 8), Ok(8));
        assert_eq!(number(None, None, 8), Ok(8));
        assert_eq!(number(Some(OsStr::new("3")), Some(1), 8), Ok(3));
    }

    #[cfg(unix)]
    #[test]
    fn a_wrong_number_is_refused_by_name() {
        use std::os::unix::ffi::OsStrExt as _;
        for wrong in [&b"0"[..], b"-1", b"many", b"99999", b"\xff\xfe", b""] {
            let refused = number(Some(OsStr::from_bytes(wrong)), None, 8);
            let text = refused.expect_err("it is wrong").to_string();
            assert!(text.starts_with("TOKIO_WORKER_THREADS: "), "{text}");
        }
    }
}
