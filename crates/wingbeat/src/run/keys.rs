//! The command `keys`, which makes keys for signatures.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_builder::{Arg, ArgMatches, Command};

use super::error::RunError;
use super::output::{complain, say};
use super::program::Program;
use super::settings::Settings;
use super::trust::signers;
use crate::trust::NewKey;

/// The directory of the private keys.
const SIGNING: &str = "signing";
/// The directory of the public keys.
const TRUSTED: &str = "trusted";

/// The definition of the command.
pub(super) fn command() -> Command {
    Command::new("keys")
        .about("Make the keys with which services sign their commands; existing keys are kept")
        .arg(
            Arg::new("directory")
                .value_name("DIR")
                .required(true)
                .value_parser(clap_builder::value_parser!(PathBuf))
                .help("Private keys go to DIR/signing, public keys to DIR/trusted"),
        )
        .arg(
            Arg::new("names")
                .value_name("NAME")
                .num_args(0..)
                .help("The services and roles; all of them by default"),
        )
}

/// Runs the command.
pub(super) fn run<P: Program>(program: &P, args: &ArgMatches) -> ExitCode {
    let directory = args.get_one::<PathBuf>("directory");
    let directory = directory.expect("clap requires it");
    let names: Vec<String> = args
        .get_many("names")
        .unwrap_or_default()
        .cloned()
        .collect();
    let names = if names.is_empty() {
        let all = signers(program, &Settings::default());
        all.into_iter().map(str::to_owned).collect()
    } else {
        names
    };
    match make_keys(directory, &names) {
        Ok(made) => {
            say(format_args!(
                "{made} pairs of keys made in {}",
                directory.display()
            ));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(format_args!("{}: {why}", program.name()));
            ExitCode::from(2)
        }
    }
}

/// Makes the missing pairs of keys of these names, as the command `keys` of every program does:
/// private keys in `signing/<name>.key`, public keys in `trusted/<name>.pub`. Returns the number of
/// pairs that were made.
///
/// # Errors
///
/// [`RunError::File`] if a file cannot be written.
pub fn make_keys(directory: &Path, names: &[String]) -> Result<usize, RunError> {
    let file = |path: &Path, why| RunError::File(path.display().to_string(), why);
    let (signing, trusted) = (directory.join(SIGNING), directory.join(TRUSTED));
    for made in [&signing, &trusted] {
        fs::create_dir_all(made).map_err(|why| file(made, why))?;
    }
    let mut made = 0;
    for name in names {
        let private = signing.join(format!("{name}.key"));
        let public = trusted.join(format!("{name}.pub"));
        if private.exists() {
            continue;
        }
        let key = NewKey::generate();
        // The public key first: a private key without one is refused.
        create(&public, &key.public, 0o644).map_err(|why| file(&public, why))?;
        create(&private, &key.private, 0o600).map_err(|why| file(&private, why))?;
        made += 1;
    }
    Ok(made)
}

/// Creates a file that does not exist.
fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(mode);
    }
    let _ = mode;
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use wingbeat_core::{Name, Signatures as _};

    use super::*;
    use crate::trust::Ed25519;

    #[test]
    fn the_keys_that_are_made_can_be_read_and_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = |name: &str| vec![name.to_owned()];
        assert_eq!(
            make_keys(directory.path(), &of("orders")).expect("written"),
            1
        );
        let names = ["orders".to_owned(), "payments".to_owned()];
        assert_eq!(make_keys(directory.path(), &names).expect("written"), 1);
        let private = directory.path().join("signing/orders.key");
        let mode = fs::metadata(&private)
            .expect("it exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let trusted = directory.path().join("trusted");
        let private = private.to_str().expect("UTF-8");
        let keys = Ed25519::read(Some(private), &trusted).expect("they can be read");
        assert!(keys.signs_for("orders") && !keys.signs_for("payments"));
        let signature = keys
            .sign(Name::new("orders"), b"x")
            .expect("it has the key");
        assert!(keys.verifies("orders", b"x", &signature));
        assert!(!keys.verifies("orders", b"y", &signature));
        assert!(!keys.verifies("payments", b"x", &signature));
        let all = directory.path().join("signing");
        let all = Ed25519::read(all.to_str(), &trusted).expect("they can be read");
        assert!(all.signs_for("orders") && all.signs_for("payments"));
    }
}
