//! How two versions of a policy file differ, for the audit: rules by name, all else by key.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// How a policy file differs from the one before it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PolicyDifference {
    /// Names of rules that are new.
    pub rules_added: Vec<String>,
    /// Names of rules that are gone.
    pub rules_removed: Vec<String>,
    /// Keys of rules that are in both, as `staff.require`: before, after.
    pub rules_changed: Vec<KeyDifference>,
    /// The order of the rules before and after, where it matters: those that are in both stand otherwise.
    pub order: Option<(Vec<String>, Vec<String>)>,
    /// Other keys, as `otp.back`: before, after.
    pub keys: Vec<KeyDifference>,
}

/// A key whose value differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyDifference {
    /// Its path.
    pub key: String,
    /// Its value as TOML before; `None`: it was not written.
    pub before: Option<String>,
    /// Its value now.
    pub after: Option<String>,
}

/// Compares two texts; one that is not TOML is empty, since nothing of it is in force.
pub fn compare(before: &str, after: &str) -> PolicyDifference {
    let (before, after) = (Flat::of(before), Flat::of(after));
    let names =
        |flat: &Flat| -> Vec<String> { flat.rules.iter().map(|(name, _)| name.clone()).collect() };
    let (old, new) = (names(&before), names(&after));
    let without = |list: &[String], other: &[String]| -> Vec<String> {
        let missing = list.iter().filter(|name| !other.contains(name));
        missing.cloned().collect()
    };
    let both = |list: &[String], other: &[String]| -> Vec<String> {
        let common = list.iter().filter(|name| other.contains(name));
        common.cloned().collect()
    };
    let (kept_old, kept_new) = (both(&old, &new), both(&new, &old));
    let mut rules_changed = Vec::new();
    for (name, keys) in &after.rules {
        let earlier = before.rules.iter().find(|(other, _)| other == name);
        if let Some((_, earlier)) = earlier {
            rules_changed.extend(differences(name, earlier, keys));
        }
    }
    PolicyDifference {
        rules_added: without(&new, &old),
        rules_removed: without(&old, &new),
        rules_changed,
        order: (kept_old != kept_new).then_some((kept_old, kept_new)),
        keys: differences("", &before.keys, &after.keys),
    }
}

type Keys = BTreeMap<String, String>;

#[derive(Default)]
struct Flat {
    rules: Vec<(String, Keys)>,
    keys: Keys,
}

impl Flat {
    fn of(text: &str) -> Self {
        let mut flat = Self::default();
        let Ok(root) = DeTable::parse(text) else {
            return flat;
        };
        for (key, value) in root.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("rule", DeValue::Array(rules)) => {
                    for (index, rule) in rules.iter().enumerate() {
                        flat.rule(index, rule.get_ref());
                    }
                }
                (key, value) => flatten(key, value, &mut flat.keys),
            }
        }
        flat
    }

    fn rule(&mut self, index: usize, rule: &DeValue<'_>) {
        let DeValue::Table(table) = rule else { return };
        let mut keys = Keys::new();
        let mut name = format!("{}", index + 1);
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("name", DeValue::String(text)) => name = text.to_string(),
                (key, value) => flatten(key, value, &mut keys),
            }
        }
        self.rules.push((name, keys));
    }
}

/// Tables are taken apart; lists, those of tables too, are one value.
fn flatten(path: &str, value: &DeValue<'_>, keys: &mut Keys) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let key = key.get_ref();
                flatten(&format!("{path}.{key}"), value.get_ref(), keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), shown(value));
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{} = {}", key.get_ref(), shown(value.get_ref())))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

fn differences(path: &str, before: &Keys, after: &Keys) -> Vec<KeyDifference> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let keys = after.keys().chain(gone);
    keys.filter(|key| before.get(*key) != after.get(*key))
        .map(|key| KeyDifference {
            key: match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            },
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
[[rule]]
name = "contractors"
when = { group = "contractors" }
require = ["pin", "otp"]
[[rule]]
name = "staff"
require = ["otp"]
[[rule]]
name = "guests"
require = ["otp"]
[otp]
back = 1
[reply]
"Filter-Id" = "{group}"
"#;

    fn changed(difference: &[KeyDifference]) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let lines = difference.iter();
        lines
            .map(|one| format!("{}: {} -> {}", one.key, text(&one.before), text(&one.after)))
            .collect()
    }

    #[test]
    fn rules_are_compared_by_name_and_the_rest_by_key() {
        let new = OLD
            .replace("[\"pin\", \"otp\"]", "[\"otp\"]")
            .replace("guests", "visitors")
            .replace("back = 1", "back = 2\nahead = 1");
        let difference = compare(OLD, &new);
        assert_eq!(difference.rules_added, ["visitors"]);
        assert_eq!(difference.rules_removed, ["guests"]);
        let rules = changed(&difference.rules_changed);
        assert_eq!(
            rules,
            ["contractors.require: [\"pin\", \"otp\"] -> [\"otp\"]"]
        );
        assert_eq!(
            changed(&difference.keys),
            ["otp.ahead:  -> 1", "otp.back: 1 -> 2"]
        );
        assert_eq!(difference.order, None);
    }

    /// The first rule that holds decides: an exchange is a change although no rule differs.
    #[test]
    fn another_order_is_a_difference() {
        let new = OLD
            .replace("\"staff\"", "\"x\"")
            .replace("\"guests\"", "\"staff\"")
            .replace("\"x\"", "\"guests\"");
        let (before, after) = compare(OLD, &new).order.unwrap();
        assert_eq!(before, ["contractors", "staff", "guests"]);
        assert_eq!(after, ["contractors", "guests", "staff"]);
    }

    #[test]
    fn comments_and_layout_are_no_difference() {
        let new = format!("# hello\n{}", OLD.replace("back = 1", "back  =  1 # one"));
        assert_eq!(compare(OLD, &new), PolicyDifference::default());
        assert_eq!(compare("", "").rules_added, Vec::<String>::new());
    }
}
