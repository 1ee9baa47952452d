//! E-mail addresses: strict enough to catch typing errors, to be safe in a mail header, and to tell
//! every address from every other one at sight.

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::confusable_detection::skeleton;
use unicode_security::{
    GeneralSecurityProfile as _, RestrictionLevel, RestrictionLevelDetection as _,
};

/// The longest address (RFC 5321).
const ADDRESS_MAX: usize = 254;
/// The longest part before the `@`.
const LOCAL_MAX: usize = 64;

/// Returns whether the text looks like an address: a local part without spaces, and a domain with a
/// dot. An address that looks like another one is refused.
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
    let domain_fits = domain.contains('.') && domain.split('.').all(label);
    text.len() <= ADDRESS_MAX
        && local_fits
        && domain_fits
        && is_unmistakable(local)
        && is_domain(domain)
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

/// Returns whether a domain is valid (UTS 46), written in the form that people see, and
/// unmistakable.
fn is_domain(domain: &str) -> bool {
    let Ok(ascii) = idna::domain_to_ascii_strict(domain) else {
        return false;
    };
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    let typed = domain.to_lowercase();
    valid.is_ok() && (typed == unicode || typed == ascii) && unicode.split('.').all(is_unmistakable)
}

/// Returns whether a text looks like no other one: it is ASCII, or its letters are in common use
/// (UTS 39), of one script, in their normal form (NFKC), and do not imitate ASCII.
fn is_unmistakable(text: &str) -> bool {
    let is_common = |c: char| c.is_ascii() || c.identifier_allowed();
    text.is_ascii()
        || (text.nfkc().eq(text.chars())
            && text.chars().all(is_common)
            && text.check_restriction_level(RestrictionLevel::SingleScript)
            && !skeleton(&text.to_lowercase()).all(|c| c.is_ascii()))
}

/// Returns the form in which addresses are compared. Addresses are equal if they differ only in
/// case, in compatibility characters (NFKC) or in the encoding of the domain (IDNA).
#[must_use]
pub fn fold(email: &str) -> String {
    let folded = |text: &str| {
        text.nfkc()
            .collect::<String>()
            .to_lowercase()
            .nfkc()
            .collect()
    };
    match email.rsplit_once('@') {
        Some((local, domain)) if email.len() <= ADDRESS_MAX => {
            let local: String = folded(local);
            let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| folded(domain));
            format!("{local}@{domain}")
        }
        _ => folded(email),
    }
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
    fn addresses_that_look_like_others_are_refused() {
        let look_alikes = [
            "admin@ſhop.example",            // a long s
            "ａｄｍｉｎ@shop.example",       // full width
            "admin@ｓhop.example",           // full width
            "аdmin@shop.example",            // one Cyrillic letter
            "admin@ѕhop.example",            // one Cyrillic letter
            "ѕсоре@shop.example",            // Cyrillic only, and still like ASCII
            "admın@shop.example",            // a dotless i, which is like an i
            "admin\u{3164}@shop.example",    // a filler, which is invisible
            "ad\u{200b}min@shop.example",    // zero width
            "ad\u{ad}min@shop.example",      // a soft hyphen
            "admin@sh\u{200d}op.example",    // zero width
            "admin@shop\u{3002}example.org", // a full stop of another script
            "ﬁne@shop.example",              // a ligature
            "admin@xn--hop-iva.example",     // a long s in disguise
        ];
        for address in look_alikes {
            assert!(!is_email(address), "{address}");
        }
        for right in [
            "иван@пример.example",
            "jörg@straße.example",
            "a@xn--fiqs8s.example",
        ] {
            assert!(is_email(right), "{right}");
        }
    }

    #[test]
    fn an_address_has_one_folded_form() {
        for other in [
            "ADMIN@Shop.Example",
            "ａdmin@ｓhop.example",
            "admin@ſhop.example",
        ] {
            assert_eq!(fold(other), "admin@shop.example", "{other}");
        }
        assert_eq!(fold("a@Ö.example"), fold("a@xn--nda.example"));
        let long = format!("{}@b.example", "Ä".repeat(40_000));
        assert!(
            fold(&long).starts_with("ää"),
            "it is no address, and costs little"
        );
    }

    #[test]
    fn addresses_that_differ_in_case_are_equal() {
        assert_eq!(fold("Ada@B.Example"), fold("ada@b.example"));
    }
}
