//! What a user knows: comparing it in a place of the hashing queue, and making outdated hashes anew.

use std::sync::Arc;

use crate::core::CoreError;
use crate::core::directory::PasswordAnswer;
use crate::login::Login;
use crate::login::assess::Progress;
use crate::login::candidates::Slot;
use crate::login::case::Case;
use crate::login::hashing::Place;
use crate::login::round::{Round, is_match};
use crate::login::{LoginRequest, Presented};
use crate::model::attempt::Comparison;
use crate::model::credential::{Credentials, Knowledge};
use crate::model::reason::Reason;
use crate::model::user::DirectoryId;
use crate::policy::split::may_hold_code;
use crate::policy::{Factor, Policy, Present, Rule};
use crate::secret::{SecretString, random};
use crate::store::{By, Change, View};

/// A box read another way: the round, what the user knows of it, the codes compared.
type Reread<'a> = (Round<'a>, Vec<(Knowledge, bool)>, Option<Vec<Comparison>>);

impl Login {
    /// Whether this is what the user knows.
    pub(crate) async fn knows(
        &self,
        credentials: &Credentials,
        (which, text): (Knowledge, Option<&str>),
        outdated: &mut Vec<(Knowledge, SecretString)>,
        place: Option<&Place>,
    ) -> Result<bool, CoreError> {
        let place = self.placed(place)?;
        let (Some(text), Some(verifier)) = (text, credentials.get(which)) else {
            self.hasher.spend(&place).await?;
            return Ok(false);
        };
        let text = SecretString::from(text);
        let right = self
            .hasher
            .verify(&place, text.clone(), verifier.hash.clone())
            .await?;
        if right && self.hasher.is_outdated(&verifier.hash) {
            outdated.push((which, text));
        }
        Ok(right)
    }

    /// Looks at what the person knows, of what is asked for in this round.
    pub(crate) async fn proves(
        &self,
        case: (Case<'_, '_>, &View),
        credentials: &Credentials,
        round: &Round<'_>,
        outdated: &mut Vec<(Knowledge, SecretString)>,
        codes: (Option<&[Comparison]>, Option<&Place>),
    ) -> Result<Result<Vec<(Knowledge, bool)>, Reason>, CoreError> {
        if !round.asked.iter().any(|factor| factor.is_knowledge()) {
            return Ok(Ok(Vec::new()));
        }
        // Apart from the future of a login by a code alone, which is moved about: it is to be small.
        Box::pin(self.proves_each(case, credentials, round, outdated, codes)).await
    }

    async fn proves_each(
        &self,
        (case, view): (Case<'_, '_>, &View),
        credentials: &Credentials,
        round: &Round<'_>,
        outdated: &mut Vec<(Knowledge, SecretString)>,
        (codes, place): (Option<&[Comparison]>, Option<&Place>),
    ) -> Result<Result<Vec<(Knowledge, bool)>, Reason>, CoreError> {
        let elsewhere = self.core.directories.checking(&view.user);
        let mut knowledge: Vec<(Knowledge, bool)> = Vec::new();
        for which in round.asked.iter().copied().filter_map(Factor::knowledge) {
            // For a blocked user nothing is hashed; the store would not look at it either.
            if knowledge.is_empty()
                && let Err(reason) = self.unblocked(case, view)?
            {
                return Ok(Err(reason));
            }
            let text = match which {
                Knowledge::Pin => round.parts.pin,
                Knowledge::Password => round.parts.password,
            };
            let right = match elsewhere.filter(|_| which == Knowledge::Password) {
                // What is wrong already is wrong without a bind, which the directory would count.
                Some(_) if codes.is_some_and(|codes| !is_match(codes)) => continue,
                Some(_) if knowledge.iter().any(|(_, right)| !right) => continue,
                Some(user) => match self.bind(user, text).await? {
                    Ok(right) => right,
                    Err(reason) => return Ok(Err(reason)),
                },
                None => {
                    self.knows(credentials, (which, text), outdated, place)
                        .await?
                }
            };
            knowledge.push((which, right));
        }
        Ok(Ok(knowledge))
    }

    /// Whether the directory takes this for the user's password; or the state of the account, for which it is not
    /// taken.
    async fn bind(
        &self,
        user: &DirectoryId,
        text: Option<&str>,
    ) -> Result<Result<bool, Reason>, CoreError> {
        let Some(text) = text else {
            return Ok(Ok(false));
        };
        let directory = self.core.directories.get();
        let password = SecretString::from(text);
        let answer = directory.check(user, &password).await?;
        Ok(match answer {
            PasswordAnswer::Right => Ok(true),
            PasswordAnswer::Wrong => Ok(false),
            PasswordAnswer::Disabled => Err(Reason::AccountDisabled),
            PasswordAnswer::Expired => Err(Reason::AccountExpired),
            PasswordAnswer::MustChange => Err(Reason::AccountMustChange),
            PasswordAnswer::Locked => Err(Reason::AccountLocked),
        })
    }

    /// The other reading of a box in which what the user knows was wrong, when by it only the code is:
    /// a wrong code in one box can look like a wrong password.
    pub(crate) async fn read_again<'a>(
        &self,
        (case, view): (Case<'_, '_>, &View),
        credentials: &Credentials,
        (round, remaining): (&Round<'a>, &'a [Factor]),
        (slot, place): (Option<&Slot<'_>>, Option<&Place>),
        outdated: &mut Vec<(Knowledge, SecretString)>,
    ) -> Result<Option<Reread<'a>>, CoreError> {
        // A second reading would be a second bind.
        let elsewhere = self.core.directories.checking(&view.user).is_some();
        if elsewhere {
            return Ok(None);
        }
        if let Some(mut other) = round.otherwise(remaining)
            && let Ok(compared) = case.codes(&mut other, slot, None)
        {
            let known = self.proves((case, view), credentials, &other, outdated, (None, place));
            let read = known.await?.unwrap_or_default();
            let right = !read.is_empty() && read.iter().all(|(_, right)| *right);
            return Ok(right.then_some((other, read, compared)));
        }
        Ok(None)
    }

    /// Spends what is left of the work that the costliest wrong answer to this request makes by any rule of the
    /// policy. Every refusal makes as much: neither whether a user exists, nor which rule applies, nor with which
    /// tokens the box is read changes how much is hashed.
    pub(crate) async fn spend_rest(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        (place, blocked): (Option<&Place>, bool),
    ) -> Result<(), CoreError> {
        let made = place.map_or(0, Place::made);
        for _ in made..most_compared(request, policy) {
            self.spend(place, blocked).await?;
        }
        Ok(())
    }

    /// Comparisons of PINs and passwords since the start, those of which only the time was spent included: by this
    /// tests see that no refusal makes less work than another.
    pub fn comparisons(&self) -> u64 {
        self.hasher.made()
    }

    /// Spends the time of a comparison; for a blocked user by waiting only.
    pub(crate) async fn spend(
        &self,
        place: Option<&Place>,
        blocked: bool,
    ) -> Result<(), CoreError> {
        let place = self.placed(place)?;
        if blocked {
            self.hasher.wait(&place).await
        } else {
            self.hasher.spend(&place).await
        }
    }

    /// The place in the hashing queue that was taken, or one now.
    fn placed(&self, place: Option<&Place>) -> Result<Place, CoreError> {
        match place {
            Some(place) => Ok(place.clone()),
            None => self.hasher.place(false, None),
        }
    }

    /// Makes outdated hashes anew, behind the answer. Another change in between wins.
    pub(crate) fn renew(&self, progress: &Progress<'_>) {
        if !progress.outdated.is_empty() {
            self.core.tasks.spawn(self.renewal(progress));
        }
    }

    fn renewal(
        &self,
        progress: &Progress<'_>,
    ) -> impl Future<Output = Result<(), CoreError>> + Send + use<> {
        let (store, hasher) = (Arc::clone(&self.core.store), Arc::clone(&self.hasher));
        let (clock, entropy) = (Arc::clone(&self.core.clock), Arc::clone(&self.core.entropy));
        let mut credentials = progress.credentials.clone();
        let (outdated, key) = (progress.outdated.clone(), progress.view.user.key.clone());
        async move {
            for (which, text) in outdated {
                let salt = random(entropy.as_ref())?;
                let hash = hasher.renew(text, salt).await?;
                if let (Some(verifier), Some(hash)) = (credentials.get_mut(which), hash) {
                    verifier.hash = hash;
                }
            }
            let now = clock.now();
            let by = By::daemon((
                crate::model::id::RequestId::new(now, random(entropy.as_ref())?),
                now,
            ));
            let change = Change::RenewCredentials(key, credentials);
            Ok(store.change(change, by).await?)
        }
    }
}

/// How many PINs and passwords the costliest wrong answer to a request has compared, by any rule of the policy.
fn most_compared(request: &LoginRequest<'_>, policy: &Policy) -> usize {
    if request.opens(policy).is_some() {
        // Nothing was typed: everyone is asked, and nothing is compared.
        return 0;
    }
    let rules = policy.rules.iter();
    let most = rules.map(|rule| compared_by(rule, request.presented, request.rounds));
    most.max().unwrap_or_default()
}

/// How many a wrong answer has compared by this rule: a box that may hold a code is read as the first factor alone,
/// and then as all of them.
fn compared_by(rule: &Rule, presented: Presented<'_>, rounds: bool) -> usize {
    let is_known = |factor: &&Factor| factor.is_knowledge();
    let known = rule.require.iter().filter(is_known).count();
    let first = rule.require.iter().take(1).filter(is_known).count();
    let may_hold_all = match presented {
        Presented::Fields { .. } => return known,
        Presented::Response(_) => true,
        // A word in the place of the code stands behind a comma, or before one.
        Presented::Passcode(text) => may_hold_code(text.expose()) || text.expose().contains(','),
    };
    match rule.present {
        _ if !rounds => known,
        Present::Joined => known,
        Present::Either if may_hold_all && known < rule.require.len() => first + known,
        Present::Either | Present::Challenge => first,
    }
}
