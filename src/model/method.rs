//! How a credential travels: the words of policies, of clients' lists and of the audit.
//!
//! A word stands for itself and for what is spelled with a dash behind it: `eap-ttls` for `eap-ttls-pap`
//! and the other inner methods, `eap` for all of EAP.

/// Every method by which a credential can come, and the families of EAP.
pub const METHODS: [&str; 18] = [
    "pap",
    "chap",
    "mschap",
    "mschapv2",
    "eap",
    "eap-md5",
    "eap-gtc",
    "eap-mschapv2",
    "eap-peap",
    "eap-peap-gtc",
    "eap-peap-mschapv2",
    "eap-ttls",
    "eap-ttls-pap",
    "eap-ttls-chap",
    "eap-ttls-gtc",
    "eap-ttls-mschap",
    "eap-ttls-mschapv2",
    "http",
];

/// Whether `word` stands for `method`. ASCII case does not count.
pub fn stands_for(word: &str, method: &str) -> bool {
    let Some((start, rest)) = method.split_at_checked(word.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(word) && (rest.is_empty() || rest.starts_with('-'))
}

/// Whether a credential can come so: a word of the list that is no family.
pub fn is_taken(method: &str) -> bool {
    let others = METHODS
        .iter()
        .filter(|known| known.len() > method.len() && stands_for(method, known));
    METHODS.contains(&method) && others.count() == 0
}

/// Whether what was typed comes itself, so that it can be compared with what is kept hashed.
pub fn shows_text(method: &str) -> bool {
    let texts = [
        "pap",
        "http",
        "eap-gtc",
        "eap-peap-gtc",
        "eap-ttls-gtc",
        "eap-ttls-pap",
    ];
    texts.contains(&method)
}

/// Whether anyone who sees such a login outside a tunnel finds the code in it, or finds it by trying
/// all codes: everything but PAP, which the shared secret hides, and the tunnels.
pub fn is_weak(method: &str) -> bool {
    let tunnelled = ["eap-peap", "eap-ttls"];
    let safe = ["pap", "http"].contains(&method);
    !safe && is_taken(method) && !tunnelled.iter().any(|word| stands_for(word, method))
}

/// The methods that RADIUS clients are allowed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allowed(Vec<String>);

/// A word that is none of the RADIUS methods.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown method `{0}`: there are {known}", known = radius_methods().join(", "))]
pub struct UnknownMethod(String);

impl Allowed {
    /// From words; none of them allows every method.
    pub fn parse(words: &[String]) -> Result<Self, UnknownMethod> {
        let mut allowed = Vec::new();
        for word in words {
            let lower = word.to_ascii_lowercase();
            if !radius_methods().contains(&&*lower) {
                return Err(UnknownMethod(word.clone()));
            }
            if !allowed.contains(&lower) {
                allowed.push(lower);
            }
        }
        Ok(Self(allowed))
    }

    /// The words, in their order; empty: every method.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether a credential may come by this method.
    pub fn takes(&self, method: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| stands_for(word, method))
    }

    /// Whether some method of this family may be used.
    pub fn takes_some_of(&self, family: &str) -> bool {
        self.takes(family) || self.0.iter().any(|word| stands_for(family, word))
    }
}

/// The words for a client's list.
pub fn radius_methods() -> Vec<&'static str> {
    METHODS
        .iter()
        .copied()
        .filter(|word| *word != "http")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_its_family_and_not_for_its_neighbours() {
        for (word, method, stands) in [
            ("eap", "eap-ttls-pap", true),
            ("eap-ttls", "eap-ttls-pap", true),
            ("EAP-TTLS", "eap-ttls-pap", true),
            ("eap-ttls-pap", "eap-ttls", false),
            ("mschap", "mschapv2", false),
            ("mschap", "mschap", true),
            ("pap", "eap-ttls-pap", false),
            ("eap-peap", "eap-ttls-pap", false),
        ] {
            assert_eq!(stands_for(word, method), stands, "{word} {method}");
        }
    }

    #[test]
    fn families_are_no_methods_and_tunnels_are_not_weak() {
        for family in ["eap", "eap-ttls", "eap-peap", "none", "mixed", ""] {
            assert!(!is_taken(family), "{family}");
        }
        let weak: Vec<_> = METHODS.into_iter().filter(|word| is_weak(word)).collect();
        let expected = [
            "chap",
            "mschap",
            "mschapv2",
            "eap-md5",
            "eap-gtc",
            "eap-mschapv2",
        ];
        assert_eq!(weak, expected);
    }

    #[test]
    fn a_list_allows_what_it_names() {
        let allowed = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Allowed::parse(&words)
        };
        assert!(allowed(&[]).unwrap().takes("chap"));
        let some = allowed(&["pap", "EAP-TTLS-PAP", "pap"]).unwrap();
        assert_eq!(some.words(), ["pap", "eap-ttls-pap"]);
        assert!(some.takes("pap") && !some.takes("chap") && some.takes("eap-ttls-pap"));
        assert!(some.takes_some_of("eap-ttls") && !some.takes_some_of("eap-peap"));
        assert!(allowed(&["eap"]).unwrap().takes_some_of("eap-peap"));
        for bad in ["http", "none", "", "ttls"] {
            assert!(allowed(&[bad]).is_err(), "{bad}");
        }
    }
}
