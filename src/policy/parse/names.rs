//! `name_rules`: what is done with user names.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::document::{Table, Value};
use crate::model::name_rule;
use crate::model::name_rule::NameRule;
use crate::model::user_key::{CONSOLE, SELF_SERVICE, UserKey};
use crate::policy::case::Given;
use crate::policy::parse::Reader;

impl Reader<'_, '_> {
    /// The rules of the policy of this name. Those who sign in to our own pages have no NAS that puts anything around
    /// their names, and who has signed in is asked for again by the key.
    pub(super) fn name_rules(&mut self, policy: &str, root: &mut Table<'_>) -> Vec<NameRule> {
        let Some(value) = root.value("name_rules") else {
            return Vec::new();
        };
        if [CONSOLE, SELF_SERVICE].contains(&policy) {
            let message = format!("policy `{policy}` takes no `name_rules`");
            let help = "people sign in there by their own names and aliases; write the rules into \
                        the policies of clients";
            self.findings.push(value.error(message).help(help));
            return Vec::new();
        }
        let texts = value.texts(self.findings).unwrap_or_default();
        if texts.len() > name_rule::MOST {
            let message = format!("`name_rules` has more than {} rules", name_rule::MOST);
            self.findings.push(value.error(message));
        }
        let mut rules = Vec::new();
        for text in &texts {
            match text.text.parse::<NameRule>() {
                Ok(rule) => rules.push(rule),
                Err(error) => {
                    let message = format!("`{}` is no rule for names", text.text);
                    self.error_at(text, Diagnostic::error(message).help(error.to_string()));
                }
            }
        }
        rules
    }

    /// Reads the user of a case as one that a client sends; its realm is then that of a name without one.
    pub(super) fn named(&mut self, given: &mut Given, value: &Value<'_>, rules: &[NameRule]) {
        if rules.is_empty() || given.user.is_empty() {
            return;
        }
        let name = name_rule::apply(rules, &given.user).into_owned();
        match UserKey::parse_in(&name, &given.realm) {
            Ok(key) => {
                key.name().clone_into(&mut given.user);
                key.realm().clone_into(&mut given.realm);
            }
            Err(error) => {
                let message = format!("`{}` is no user by `name_rules`: {error}", given.user);
                self.findings.push(value.error(message));
            }
        }
    }
}
