//! Entries of a directory.

use ldap3::SearchEntry;

/// An entry: its name and its attributes, whose names have no case.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) dn: String,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl From<SearchEntry> for Entry {
    fn from(entry: SearchEntry) -> Self {
        let texts = entry.attrs.into_iter().map(|(name, values)| {
            let values = values.into_iter().map(String::into_bytes);
            (name.to_ascii_lowercase(), values.collect())
        });
        let octets = entry.bin_attrs.into_iter();
        let octets = octets.map(|(name, values)| (name.to_ascii_lowercase(), values));
        Self {
            dn: entry.dn,
            attributes: texts.chain(octets).collect(),
        }
    }
}

impl Entry {
    #[cfg(test)]
    pub(super) fn new(dn: &str, attributes: &[(&str, &[&str])]) -> Self {
        let value = |text: &&str| text.as_bytes().to_vec();
        let attributes = attributes.iter().map(|(name, values)| {
            (
                name.to_ascii_lowercase(),
                values.iter().map(value).collect(),
            )
        });
        Self {
            dn: dn.to_owned(),
            attributes: attributes.collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn with(mut self, name: &str, value: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        self.attributes.push((name, vec![value.to_vec()]));
        self
    }

    /// The values of an attribute, as octets. Active Directory hands out long ones in parts, with the part in
    /// the name: `member;range=0-1499`.
    pub(super) fn octets(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = name.to_ascii_lowercase();
        let all = self.attributes.iter();
        let own = all.filter(move |(found, _)| {
            let rest = found.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(";range="))
        });
        own.flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    /// The values of an attribute that are text.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let octets = self.octets(name);
        octets.filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of an attribute, if it is text with something in it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.texts(name).next().map(str::trim);
        text.filter(|text| !text.is_empty())
    }
}

/// The one form of a name by which two are compared: no case, no blanks around commas.
pub(super) fn normal_dn(dn: &str) -> String {
    let mut normal = String::with_capacity(dn.len());
    let mut escaped = false;
    for sign in dn.trim().chars() {
        if sign == ' ' && !escaped && (normal.ends_with([',', '=']) || normal.is_empty()) {
            continue;
        }
        if !escaped && (sign == ',' || sign == '=') {
            while normal.ends_with(' ') && !normal.ends_with("\\ ") {
                normal.pop();
            }
        }
        escaped = sign == '\\' && !escaped;
        normal.extend(sign.to_lowercase());
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_blanks() {
        let one = normal_dn("UID=Ann , ou=People,  DC=eco");
        assert_eq!(one, normal_dn("uid=ann,OU=people,dc=eco"));
        assert_ne!(normal_dn("cn=a\\, b,dc=eco"), normal_dn("cn=a,b,dc=eco"));
    }

    #[test]
    fn values_in_parts_are_values() {
        let entry = Entry::new(
            "cn=a",
            &[("Member;Range=0-1", &["x", "y"]), ("memberOf", &["z"])],
        );
        assert_eq!(entry.texts("member").collect::<Vec<_>>(), ["x", "y"]);
    }
}
