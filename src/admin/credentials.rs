//! PINs and passwords: setting, importing, and users who change their own.

use crate::admin::Admin;
use crate::admin::{AdminError, invalid};
use crate::core::CoreError;
use crate::credential::{Form, Hash, Personal, Text, check_password, check_pin};
use crate::login::{LoginAnswer, LoginOutcome, LoginRequest};
use crate::model::credential::{Credentials, Knowledge, Verifier};
use crate::model::reason::Reason;
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::secret::{SecretString, random};
use crate::store::{By, Change};
use crate::time::UnixTime;

/// What becomes of a user's PIN or password.
#[derive(Debug)]
pub enum NewVerifier {
    /// A new text.
    Text(SecretString),
    /// A hash from another system; renewed at the first login.
    Hash(SecretString),
    /// None any more.
    Remove,
}

/// Changes of what a user knows; nothing stands for no change.
#[derive(Debug, Default)]
pub struct CredentialsPatch {
    /// The password.
    pub password: Option<NewVerifier>,
    /// The PIN.
    pub pin: Option<NewVerifier>,
    /// Whether the user must choose another before it opens anything.
    pub must_change: Option<bool>,
}

impl CredentialsPatch {
    /// Whether nothing is to be changed.
    pub const fn is_empty(&self) -> bool {
        self.password.is_none() && self.pin.is_none() && self.must_change.is_none()
    }
}

impl Admin {
    /// Checks and hashes what is new, before anything is changed; none where nothing is new.
    pub(super) async fn verifiers(
        &self,
        user: &User,
        patch: &CredentialsPatch,
        at: UnixTime,
    ) -> Result<Option<Credentials>, AdminError> {
        if patch.is_empty() {
            return Ok(None);
        }
        let mut credentials = self.core.store.credentials(&user.key)?;
        for (which, new) in [
            (Knowledge::Password, &patch.password),
            (Knowledge::Pin, &patch.pin),
        ] {
            let Some(new) = new else { continue };
            let present = credentials.get(which).cloned();
            *credentials.get_mut(which) = self.verifier(user, which, new, present, at).await?;
            if which == Knowledge::Pin {
                credentials.pin_text = self.kept(new);
            }
        }
        if let Some(must_change) = patch.must_change {
            let known = [&mut credentials.pin, &mut credentials.password];
            let mut any = false;
            for verifier in known.into_iter().flatten() {
                verifier.must_change = must_change;
                any = true;
            }
            if !any {
                return invalid("must_change", "the user has neither PIN nor password");
            }
        }
        Ok(Some(credentials))
    }

    /// The PIN itself, where a policy asks that it is kept.
    fn kept(&self, new: &NewVerifier) -> Option<SecretString> {
        let policies = self.core.policies();
        let keeps = policies.iter().any(|policy| policy.pin.recoverable);
        match new {
            NewVerifier::Text(typed) if keeps => {
                Some(typed.without_blanks().unwrap_or_else(|| typed.clone()))
            }
            _ => None,
        }
    }

    /// A user who proves everything the rule asks for chooses another PIN or password. Also the way
    /// out of `must_change`.
    pub async fn replace_own(
        &self,
        request: &LoginRequest<'_>,
        new: CredentialsPatch,
    ) -> Result<Replaced, AdminError> {
        let Some(key) = self.core.whose(request.client, request.user)? else {
            let decided = self.login.authenticate(request).await?;
            return Ok(Replaced::Refused(Box::new(decided)));
        };
        // Before the code is used up: anyone who types a PIN that is too short keeps it.
        for (which, new) in [
            (Knowledge::Password, &new.password),
            (Knowledge::Pin, &new.pin),
        ] {
            if let Some(NewVerifier::Text(text)) = new {
                form(which, text)?;
            }
        }
        let decided = self.login.authenticate(request).await?;
        let proven = matches!(decided.answer, LoginAnswer::Accept(_));
        if !proven && decided.reason != Reason::MustChange {
            return Ok(Replaced::Refused(Box::new(decided)));
        }
        // Anyone who holds a token alone must not make it the key to what it is the second factor for.
        for (which, new) in [
            (Knowledge::Password, &new.password),
            (Knowledge::Pin, &new.pin),
        ] {
            if new.is_some() && !decided.proven.contains(&which) {
                let message = "it was not proven here: the policy does not ask for it, or a bypass \
                               holds; an administrator sets it";
                return invalid(which.as_str(), message);
            }
        }
        let user = self.user(&key)?;
        let verifiers = self.verifiers(&user, &new, request.at).await?;
        let by = By::new(format!("user {key}"), (request.id, request.at));
        if let Some(verifiers) = verifiers {
            self.set_credentials(&key, verifiers, by).await?;
        }
        Ok(Replaced::Done)
    }

    /// Changes what a user knows.
    pub(super) async fn set_credentials(
        &self,
        key: &UserKey,
        credentials: Credentials,
        by: By,
    ) -> Result<(), AdminError> {
        let change = Change::SetCredentials(key.clone(), credentials);
        Ok(self.core.store.change(change, by).await?)
    }

    async fn verifier(
        &self,
        user: &User,
        which: Knowledge,
        new: &NewVerifier,
        present: Option<Verifier>,
        at: UnixTime,
    ) -> Result<Option<Verifier>, AdminError> {
        let field = which.as_str();
        let (hash, length) = match new {
            NewVerifier::Remove => return Ok(None),
            NewVerifier::Hash(text) => match Hash::import(text.expose()) {
                Ok(hash) => (hash, None),
                Err(error) => return invalid(field, error.to_string()),
            },
            NewVerifier::Text(typed) => {
                let tidy = typed.without_blanks();
                let typed = tidy.as_ref().unwrap_or(typed);
                let text = check(user, which, typed)?;
                let old: Vec<Hash> = present
                    .iter()
                    .flat_map(|present| [&present.hash].into_iter().chain(&present.previous))
                    .cloned()
                    .collect();
                for old in old {
                    let place = self.login.hasher.place(false, None)?;
                    if self.login.hasher.verify(&place, typed.clone(), old).await? {
                        let kept = Verifier::HISTORY;
                        let message = format!("it is one of the last {kept}; choose another");
                        return invalid(field, message);
                    }
                }
                let length = u16::try_from(text.expose().chars().count()).ok();
                let salt = random(self.core.entropy.as_ref()).map_err(CoreError::from)?;
                (self.login.hasher.hash(text, salt).await?, length)
            }
        };
        let previous = present.map(|present| {
            let mut previous = present.previous;
            previous.insert(0, present.hash);
            previous.truncate(Verifier::HISTORY - 1);
            previous
        });
        Ok(Some(Verifier {
            hash,
            length,
            set: at,
            must_change: false,
            previous: previous.unwrap_or_default(),
        }))
    }
}

fn form(which: Knowledge, typed: &SecretString) -> Result<Text, AdminError> {
    let form = match which {
        Knowledge::Pin => Form::Pin,
        Knowledge::Password => Form::Password,
    };
    // As a login reads it.
    let tidy = typed.without_blanks();
    let typed = tidy.as_ref().unwrap_or(typed);
    Text::parse(form, typed).or_else(|unfit| invalid(which.as_str(), unfit.to_string()))
}

fn check(user: &User, which: Knowledge, typed: &SecretString) -> Result<Text, AdminError> {
    let text = form(which, typed)?;
    let weak = match which {
        Knowledge::Password => check_password(&text, user.key.name()),
        Knowledge::Pin => check_pin(
            &text,
            &Personal {
                birth_date: user.birth_date.as_deref(),
                phone: user.phone.as_deref(),
                user: user.key.name(),
            },
        ),
    };
    match weak {
        Ok(()) => Ok(text),
        Err(weak) => {
            let message = format!("too easy to guess: {weak} (rule `{}`)", weak.word());
            invalid(which.as_str(), message)
        }
    }
}

/// What became of a user's own change.
#[derive(Debug)]
pub enum Replaced {
    /// It is changed.
    Done,
    /// What was presented did not prove the user; the answer is that of a login.
    Refused(Box<LoginOutcome>),
}
