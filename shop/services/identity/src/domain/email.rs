//! E-mail addresses: strict enough to catch typing errors and to be safe in a mail header.

/// The longest address (RFC 5321).
const ADDRESS_MAX: usize = 254;
/// The longest part before the `@`.
const LOCAL_MAX: usize = 64;

/// Returns whether the text looks like an address: a local part without spaces, and a domain with a
/// dot.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_fits = (1..=LOCAL_MAX).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(may_be_local);
    text.len() <= ADDRESS_MAX && local_fits && domain.contains('.') && domain.split('.').all(label)
}

fn may_be_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

/// Returns the form in which addresses are compared: addresses that differ only in case are equal.
#[must_use]
pub fn fold(email: &str) -> String {
    email.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_accepted() {
        for right in ["a@b.example", "Ada.L+shop@mail.b-c.example", "ä@ö.example"] {
            assert!(is_email(right), "{right}");
        }
        let long = format!("{}@b.example", "a".repeat(65));
        let wrong = [
            "",
            "a",
            "@b.example",
            "a@",
            "a@b",
            "a b@c.example",
            "a@b..example",
            "a@-b.example",
            ".a@b.example",
            "a@b.example\r\nBcc: x@y.example",
            "a@b@c.example",
            &long,
        ];
        for wrong in wrong {
            assert!(!is_email(wrong), "{wrong}");
        }
    }

    #[test]
    fn addresses_that_differ_in_case_are_equal() {
        assert_eq!(fold("Ada@B.Example"), fold("ada@b.example"));
    }
}
