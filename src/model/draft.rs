//! A policy file that someone proposes, and another approves before it is in force.

use crate::time::UnixTime;

/// A draft of a policy file; there is one for each policy at most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// Name of the policy: the file's stem.
    pub policy: String,
    /// The whole file as it is proposed.
    pub text: String,
    /// SHA-256 of the file that the author changed; `None`: there was none.
    pub base: Option<[u8; 32]>,
    /// Who changed the draft last, as the audit names what their rights are bound to.
    pub author: String,
    /// When.
    pub at: UnixTime,
    /// Why, in the author's words; may be empty.
    pub note: String,
    /// Who approved it; it is written then, and gone.
    pub approved: Option<String>,
    /// Counts changes.
    pub revision: u64,
}

/// Longest text of a draft, in octets.
pub const DRAFT_MAX: usize = 64 * 1024;

/// Whether a policy may have this name: it becomes that of a file.
pub fn is_policy_name(name: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    (1..=64).contains(&name.len())
        && name.bytes().all(fits)
        && name
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_directory() {
        for name in ["vpn", "kr-finance", "a_1", "7"] {
            assert!(is_policy_name(name), "{name}");
        }
        for name in [
            "", ".", "..", ".vpn", "a/b", "a\\b", "-x", "a.toml", "a b", "\u{ac00}",
        ] {
            assert!(!is_policy_name(name), "{name}");
        }
        assert!(!is_policy_name(&"a".repeat(65)));
    }
}
