//! The rules for passwords.

use unicode_normalization::UnicodeNormalization as _;

/// The shortest password, in characters.
pub const PASSWORD_MIN: usize = 8;
/// The longest password, in characters. Hashing longer ones would only cost time.
pub const PASSWORD_MAX: usize = 128;

/// The shortest name or part of an address that a password must not contain, in characters. Shorter
/// ones occur in many passwords by chance.
const OWN_MIN: usize = 4;

/// Returns the fault of a password; `None` if it is acceptable. `email` and `name` are the user's.
#[must_use]
pub fn password_fault(password: &str, email: &str, name: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&length) {
        return Some("8 to 128 characters");
    }
    let folded = fold(password);
    let blank = folded.trim().is_empty();
    if blank || is_common(password) || is_common(&folded) || is_common(folded.trim()) {
        return Some("this password is too common");
    }
    let own = own_words(email, name);
    let contains_own = own.iter().any(|word| folded.contains(word.as_str()));
    contains_own.then_some("this password contains your name or address")
}

/// The hundred thousand most common passwords of published leaks.
fn is_common(password: &str) -> bool {
    passwords::analyzer::is_common_password(password)
}

/// Returns the words that are known about a user: the address, its parts, and the name.
fn own_words(email: &str, name: &str) -> Vec<String> {
    let (email, name) = (fold(email), fold(name));
    let (local, domain) = email.rsplit_once('@').unwrap_or((&email, ""));
    let words = [email.as_str(), local, domain, name.trim()].into_iter();
    words
        .chain(local.split(['.', '+', '-', '_']))
        .chain(name.split_whitespace())
        .filter(|word| word.chars().count() >= OWN_MIN)
        .map(str::to_owned)
        .collect()
}

fn fold(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(password: &str) -> Option<&'static str> {
        password_fault(password, "ada@shop.example", "Ada")
    }

    #[test]
    fn the_length_is_counted_in_characters() {
        assert!(fault("1234567").is_some());
        assert_eq!(fault("äöüßäöüß"), None);
        assert_eq!(fault(&"ä".repeat(128)), None);
        assert!(fault(&"a".repeat(129)).is_some());
    }

    #[test]
    fn common_passwords_are_refused_in_any_case() {
        assert!(fault("Password123").is_some());
        assert_eq!(fault("password-of-mine"), None);
    }

    /// Each was accepted by a list of forty passwords.
    #[test]
    fn passwords_of_published_leaks_are_refused() {
        for common in [
            "trustno1",
            "starwars",
            "whatever",
            "charlie1",
            "qwerty123",
            "liverpool",
            "jordan23",
            "11223344",
            "TRUSTNO1",
            "ｐassword",
            " password ",
            "zaq12wsx",
            "mustang1",
        ] {
            assert!(fault(common).is_some(), "{common}");
        }
    }

    #[test]
    fn a_password_does_not_contain_what_is_known_about_the_user() {
        let fault =
            |password| password_fault(password, "Ada.Lovelace@shop.example", "Ada Byron-King");
        for own in [
            "ada.lovelace@shop.example",
            "ADA.LOVELACE@SHOP.EXAMPLE",
            "my-lovelace-77",
            "shop.example!",
            "ada byron-king",
            "xxBYRON-KINGxx",
            "ｌovelace-1815",
        ] {
            assert!(fault(own).is_some(), "{own}");
        }
        assert_eq!(fault("canada horse"), None, "short words occur by chance");
    }
}
