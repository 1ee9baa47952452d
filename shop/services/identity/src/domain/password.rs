//! The rules for passwords.

/// The shortest password, in characters.
pub const PASSWORD_MIN: usize = 8;
/// The longest password, in characters. Hashing longer ones would only cost time.
pub const PASSWORD_MAX: usize = 128;

/// Common passwords in lower case, of those that are long enough.
const COMMON: [&str; 40] = [
    "00000000",
    "11111111",
    "12121212",
    "12341234",
    "12345678",
    "123456789",
    "1234567890",
    "123123123",
    "1q2w3e4r",
    "1qaz2wsx",
    "87654321",
    "987654321",
    "a1b2c3d4",
    "aa123456",
    "abc12345",
    "abcd1234",
    "administrator",
    "asdfasdf",
    "asdfghjk",
    "baseball",
    "changeme",
    "computer",
    "football",
    "iloveyou",
    "internet",
    "jennifer",
    "letmein1",
    "michelle",
    "passw0rd",
    "password",
    "password1",
    "password12",
    "password123",
    "princess",
    "q1w2e3r4",
    "qwer1234",
    "qwertyui",
    "qwertyuiop",
    "sunshine",
    "superman",
];

/// Returns the fault of a password; `None` if it is acceptable.
#[must_use]
pub fn password_fault(password: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&length) {
        return Some("8 to 128 characters");
    }
    COMMON
        .contains(&password.to_lowercase().as_str())
        .then_some("this password is too common")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_counted_in_characters() {
        assert!(password_fault("1234567").is_some());
        assert_eq!(password_fault("äöüßäöüß"), None);
        assert_eq!(password_fault(&"ä".repeat(128)), None);
        assert!(password_fault(&"a".repeat(129)).is_some());
    }

    #[test]
    fn common_passwords_are_refused_in_any_case() {
        assert!(password_fault("Password123").is_some());
        assert_eq!(password_fault("password-of-mine"), None);
    }
}
