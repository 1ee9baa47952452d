//! The validation of a sign-up. Pure.

mod email;
mod password;

use shop_contracts::is_line;

pub use email::{fold, is_email};
pub use password::{PASSWORD_MAX, PASSWORD_MIN, password_fault};

/// The longest name, in characters.
pub const NAME_MAX: usize = 100;

/// An invalid field: its JSON pointer and a message.
pub type Fault = (&'static str, &'static str);

/// Returns all invalid fields of a sign-up.
#[must_use]
pub fn sign_up_faults(email: &str, password: &str, name: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !is_email(email) {
        faults.push(("/email", "not an e-mail address"));
    }
    if let Some(fault) = password_fault(password, email, name) {
        faults.push(("/password", fault));
    }
    if !is_line(name, NAME_MAX) {
        faults.push(("/name", "1 to 100 characters"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_invalid_fields_are_reported_at_once() {
        let faults = sign_up_faults("nobody", "short", " ");
        let pointers: Vec<_> = faults.iter().map(|(pointer, _)| *pointer).collect();
        assert_eq!(pointers, ["/email", "/password", "/name"]);
        assert_eq!(sign_up_faults("a@b.example", "correct horse", "Ada"), []);
    }

    #[test]
    fn a_name_with_line_breaks_is_invalid() {
        let faults = sign_up_faults("a@b.example", "correct horse", "Ada\r\nBcc: x");
        assert_eq!(faults, [("/name", "1 to 100 characters")]);
        for mark in ['\u{2028}', '\u{202e}', '\u{2066}', '\u{200b}'] {
            let name = format!("Ada{mark}x");
            let faults = sign_up_faults("a@b.example", "correct horse", &name);
            assert_eq!(faults, [("/name", "1 to 100 characters")]);
        }
    }
}
