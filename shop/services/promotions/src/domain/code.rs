//! Promo codes. They are case-insensitive and stored in upper case.

use std::fmt;

use shop_contracts::UserId;

/// Crockford's base 32, in which no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The number of characters after the prefix of a welcome code: 40 bits.
const LENGTH: u32 = 8;

/// A promo code in upper case. It identifies a promo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(String);

impl Code {
    /// Normalizes a code that a user typed.
    #[must_use]
    pub fn of(typed: &str) -> Self {
        Self(typed.trim().to_ascii_uppercase())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a user's welcome code for an attempt, always the same one. Among a million users about
/// one pair of codes collides; the next attempt gives another code.
#[must_use]
pub fn welcome_code(user: UserId, attempt: u32) -> Code {
    let bytes = user.0.as_u128();
    let folded = (bytes as u64) ^ ((bytes >> 64) as u64).rotate_left(29);
    let bits = mix(folded.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let letters = (0..LENGTH).map(|at| {
        let index = (bits >> (at * 5)) & 31;
        char::from(ALPHABET[index as usize])
    });
    Code("WELCOME-".chars().chain(letters).collect())
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): each output bit depends on all input
/// bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        text.parse().unwrap()
    }

    #[test]
    fn a_user_always_gets_the_same_code() {
        let ada = user("0193f0a0-0000-7000-8000-000000000001");
        let bob = user("0193f0a0-0000-7000-8000-000000000002");
        assert_eq!(welcome_code(ada, 0), welcome_code(ada, 0));
        assert_ne!(welcome_code(ada, 0), welcome_code(bob, 0));
        assert_ne!(welcome_code(ada, 0), welcome_code(ada, 1));
    }

    #[test]
    fn a_welcome_code_is_the_prefix_and_eight_characters() {
        let code = welcome_code(user("0193f0a0-0000-7000-8000-000000000001"), 0).to_string();
        let letters = code.strip_prefix("WELCOME-").unwrap();
        assert_eq!(letters.len(), 8);
        assert!(letters.bytes().all(|letter| ALPHABET.contains(&letter)));
    }

    #[test]
    fn a_code_ignores_case_and_surrounding_space() {
        assert_eq!(Code::of(" welcome-abc "), Code::of("WELCOME-ABC"));
    }
}
