//! A directory that answers as it is told.

use std::sync::Mutex;

use oncegate::core::directory::{
    Asking, Checked, Directory, DirectoryError, PasswordAnswer, People, Person, SourceInfo,
};
use oncegate::model::reason::Reason;
use oncegate::model::user::DirectoryId;
use oncegate::secret::SecretString;

/// A directory whose people have accounts in these states.
#[derive(Default)]
pub(crate) struct Corp(Mutex<Vec<(String, Reason)>>);

impl Corp {
    /// The password of everyone whose account is open (`PasswordOk`).
    pub(crate) const PASSWORD: &str = "of the directory 7";

    /// One more person.
    pub(crate) fn add(&self, name: &str, state: Reason) {
        self.0.lock().unwrap().push((name.to_owned(), state));
    }
}

impl Directory for Corp {
    fn sources(&self) -> Vec<SourceInfo> {
        vec![SourceInfo {
            name: "corp".to_owned(),
            kind: "ldap",
            servers: Vec::new(),
            realm: "default".to_owned(),
            every: None,
            password: None,
        }]
    }

    fn checks_passwords(&self, _: &str) -> bool {
        true
    }

    fn check<'a>(&'a self, user: &'a DirectoryId, text: &'a SecretString) -> Asking<'a, Checked> {
        let all = self.0.lock().unwrap();
        let (_, reason) = all.iter().find(|(name, _)| *name == user.id).unwrap();
        let answer = match reason {
            Reason::PasswordOk if text.expose() == Self::PASSWORD => PasswordAnswer::Right,
            Reason::PasswordOk => PasswordAnswer::Wrong,
            Reason::AccountDisabled => PasswordAnswer::Disabled,
            Reason::AccountExpired => PasswordAnswer::Expired,
            Reason::AccountMustChange => PasswordAnswer::MustChange,
            _ => PasswordAnswer::Locked,
        };
        Box::pin(async move { Ok(answer) })
    }

    fn read<'a>(&'a self, _: &'a str) -> Asking<'a, Result<People, DirectoryError>> {
        let person = |(name, _): &(String, Reason)| Person {
            id: name.clone(),
            login: name.clone(),
            ..Person::default()
        };
        let people = People {
            people: self.0.lock().unwrap().iter().map(person).collect(),
            ..People::default()
        };
        Box::pin(async move { Ok(people) })
    }
}
