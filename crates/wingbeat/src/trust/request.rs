//! Proofs of identity on requests between processes.

use std::time::Duration;

use wingbeat_core::signature::SignedText;
use wingbeat_core::{Name, Signature, Signatures, Timestamp};

/// The header of a proof, `v1,<caller>,<seconds since 1970>,<signature>`.
pub const CALLER_HEADER: &str = "wingbeat-caller";
/// The largest difference between the clocks of caller and receiver, and so the time for which a
/// recorded proof can be used again.
const VALID_FOR: Duration = Duration::from_secs(30);
const VERSION: &str = "v1";

/// The parts of a request that its proof covers. The body is not one of them.
#[derive(Clone, Copy, Debug)]
pub struct RequestText<'a> {
    /// The service that the request is for.
    pub receiver: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path with the query.
    pub path: &'a str,
}

impl RequestText<'_> {
    /// Returns the value of [`CALLER_HEADER`]; `None` if this process has no key of that name.
    #[must_use]
    pub fn prove(
        &self,
        signatures: &dyn Signatures,
        caller: Name,
        now: Timestamp,
    ) -> Option<String> {
        let seconds = (now.as_micros() / 1_000_000).to_string();
        let text = self.signed(caller.as_str(), &seconds);
        let signature = signatures.sign(caller, &text)?;
        Some(format!("{VERSION},{caller},{seconds},{signature}"))
    }

    /// Returns the caller that the value of [`CALLER_HEADER`] proves; `None` if it proves nothing.
    #[must_use]
    pub fn proven<'b>(
        &self,
        signatures: &dyn Signatures,
        value: &'b str,
        now: Timestamp,
    ) -> Option<&'b str> {
        let mut parts = value.split(',');
        let mut part = || parts.next();
        let (version, caller, seconds, signature) = (part()?, part()?, part()?, part()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let at = Timestamp::from_micros(seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?);
        if now.since(at).max(at.since(now)) > VALID_FOR {
            return None;
        }
        let signature: Signature = signature.parse().ok()?;
        let text = self.signed(caller, seconds);
        signatures
            .verifies(caller, &text, &signature)
            .then_some(caller)
    }

    fn signed(&self, caller: &str, seconds: &str) -> Vec<u8> {
        SignedText::new("wingbeat request v1")
            .field(caller.as_bytes())
            .field(self.receiver.as_bytes())
            .field(self.method.as_bytes())
            .field(self.path.as_bytes())
            .field(seconds.as_bytes())
            .into_bytes()
    }
}

#[cfg(all(test, feature = "signing"))]
mod tests {
    use super::*;
    use crate::trust::Ed25519;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_500);
    const TEXT: RequestText<'static> = RequestText {
        receiver: "orders",
        method: "GET",
        path: "/internal/stories/7?x=1",
    };

    #[test]
    fn a_proof_holds_for_one_request_and_a_short_time() {
        let keys = Ed25519::generated(["gateway", "orders"]);
        let caller = Name::new("gateway");
        let proof = TEXT.prove(&keys, caller, NOW).expect("it has the key");
        let at = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!(TEXT.proven(&keys, &proof, NOW), Some("gateway"));
        assert_eq!(TEXT.proven(&keys, &proof, at(29)), Some("gateway"));
        assert_eq!(TEXT.proven(&keys, &proof, at(30)), None, "it is old");
        let later = TEXT.prove(&keys, caller, at(32)).expect("it has the key");
        assert_eq!(TEXT.proven(&keys, &later, NOW), None, "it is of the future");
        let others = [
            RequestText {
                receiver: "payments",
                ..TEXT
            },
            RequestText {
                method: "POST",
                ..TEXT
            },
            RequestText {
                path: "/internal/stories/8?x=1",
                ..TEXT
            },
        ];
        for other in others {
            assert_eq!(other.proven(&keys, &proof, NOW), None, "{other:?}");
        }
    }

    #[test]
    fn anything_else_proves_nothing() {
        let keys = Ed25519::generated(["gateway", "orders"]);
        let proof = TEXT.prove(&keys, Name::new("gateway"), NOW).expect("a key");
        let claimed = proof.replace("gateway", "orders");
        let long = "9".repeat(40);
        for value in [
            "",
            "v1,gateway",
            &proof[..proof.len() - 1],
            &proof.replace("v1", "v2"),
            &format!("{proof},x"),
            &claimed,
            &format!("v1,gateway,{long},{}", Signature::new([0; 64])),
            &format!("v1,gateway,{},{}", i64::MIN, Signature::new([0; 64])),
        ] {
            assert_eq!(TEXT.proven(&keys, value, NOW), None, "{value}");
        }
        let strangers = Ed25519::generated(["gateway"]);
        assert_eq!(TEXT.proven(&strangers, &proof, NOW), None);
        assert_eq!(
            TEXT.prove(&keys.verifying(), Name::new("gateway"), NOW),
            None
        );
    }
}
