//! Enrolment by a link: the owner takes the key over, and no administrator sees it.
//!
//! ```text
//! enrol_by_link  a pending totp token, and a link with a code of 125 bits: shown, sent by mail or SMS
//! redeem_link    the code, once: the key                       audit: enrol_redeem
//! redeem_link_by_device   the code, once: a code for a device instead of the key; where the policy wants its first
//!                         code confirmed, the link's code goes over to the device's token for that alone
//! confirm_link   the same code and the token's first one: active, as by any confirmation
//! ```
//!
//! Invariants: only the code's mark under the token's key is stored; a wrong code changes nothing and says
//! nothing, and is no guess at anything a person can remember. A link lasts as long as the policy lets a token
//! wait for its first code.

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::enrolment::SHORTEST;
use crate::admin::{AdminError, Enrol, NewToken, Offered, invalid};
use crate::model::enrolment::Link;
use crate::model::id::{RequestId, Serial};
use crate::model::kind::Kind;
use crate::model::message::{Medium, Message, mask};
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token};
use crate::model::user::{Touched, User};
use crate::model::user_key::UserKey;
use crate::notice::{Place, Text};
use crate::otp::issued::{Mark, canonical};
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::SecretString;
use crate::store::{By, Change, StoreError};
use crate::time::UnixTime;
use crate::wire::percent_encode;

/// A link that is wanted.
#[derive(Clone, Debug)]
pub struct LinkWanted {
    /// For whom.
    pub user: UserKey,
    /// Whose rules; `default` when none.
    pub policy: Option<String>,
    /// How it is sent.
    pub media: Vec<Medium>,
    /// How long it is good; as long as the policy lets a token wait for its first code when none.
    pub valid_for: Option<Duration>,
    /// Whether who asks may only ask, where others must approve tokens.
    pub strict: bool,
    /// Whether it is shown beside that.
    pub shown: bool,
    /// Where people reach this server.
    pub public_url: String,
}

/// A link that was made.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The token.
    pub serial: Serial,
    /// The link, with its code.
    pub link: SecretString,
    /// Until when it is good.
    pub until: UnixTime,
    /// Where it went, as it may be shown.
    pub sent: Vec<(Medium, String)>,
    /// Where it did not go, and why.
    pub failed: Vec<String>,
}

/// What a link is made by.
struct Plan {
    user: User,
    valid_for: Duration,
    recipients: Vec<(Medium, String)>,
}

impl Admin {
    /// Until when a link would be good that is asked for now; an error where it would be refused.
    pub fn could_enrol_by_link(&self, wanted: &LinkWanted) -> Result<UnixTime, AdminError> {
        let plan = self.link_plan(wanted)?;
        Ok(self.core.now().plus(plan.valid_for))
    }

    /// All that is known of a link before anything changes: no one is promised a message that will never leave.
    fn link_plan(&self, wanted: &LinkWanted) -> Result<Plan, AdminError> {
        let policies = self.core.policies();
        let Some(policy) = policies.resolve(wanted.policy.as_deref()) else {
            let named = wanted.policy.as_deref().unwrap_or_default();
            return invalid("policy", self.unknown_policy(named));
        };
        let rules = &policy.enrolment;
        let user = self.user(&wanted.user)?;
        if user.disabled {
            return Err(AdminError::Conflict("the user is disabled"));
        }
        if !rules.remote && !user.remote_issue {
            return Err(AdminError::Forbidden(
                "this user has not consented to enrolment from afar: hand the token out in person",
            ));
        }
        if !rules.step_up.is_empty() {
            return Err(AdminError::Forbidden(
                "the policy asks for a code in addition where a token is issued (`step_up`), for which a link \
                 has no place",
            ));
        }
        if wanted.strict && self.strictest_approvers(Kind::Totp, wanted.policy.as_deref()) > 0 {
            return Err(AdminError::Forbidden(
                "others must approve tokens here: request one, and an administrator hands it out",
            ));
        }
        let valid_for = wanted.valid_for.unwrap_or(rules.first_use_within);
        if !(SHORTEST..=LONGEST).contains(&valid_for) {
            return invalid("valid_for", "a link is good for 1 minute to 365 days");
        }
        let recipients = self.recipients(None, &user, &wanted.media)?;
        Ok(Plan {
            user,
            valid_for,
            recipients,
        })
    }

    /// Makes a link by which a user enrols a totp token. A token whose link was not used gets another link.
    pub async fn enrol_by_link(&self, wanted: LinkWanted, by: By) -> Result<Linked, AdminError> {
        let Plan {
            user,
            valid_for,
            recipients,
        } = self.link_plan(&wanted)?;
        let token = self.held_back(&user, wanted.policy, by.clone()).await?;
        let code = self.core.letters(LENGTH)?;
        let link = Link {
            mark: mark(&token, &code),
            until: by.at.plus(valid_for),
            redeemed: None,
        };
        self.offer_link(&token.serial, link, token.revision, by.clone())
            .await?;
        let mut linked = Linked {
            link: address(&wanted.public_url, &token.serial, &code),
            serial: token.serial,
            until: link.until,
            sent: Vec::new(),
            failed: Vec::new(),
        };
        self.send_link(&mut linked, &user, &recipients, by.request)
            .await;
        if linked.sent.is_empty() && !linked.failed.is_empty() && !wanted.shown {
            // No one has it: it is not open, and the next attempt makes another.
            let link = Link {
                until: by.at,
                ..link
            };
            let (token, _) = self.token(&linked.serial)?;
            self.offer_link(&token.serial, link, token.revision, by)
                .await?;
        }
        Ok(linked)
    }

    async fn offer_link(
        &self,
        serial: &Serial,
        link: Link,
        expected: u64,
        by: By,
    ) -> Result<(), AdminError> {
        let change = Change::OfferLink {
            serial: serial.clone(),
            link,
            expected,
        };
        Ok(self.core.store.change(change, by).await?)
    }

    /// A pending token of the user whose key no one has: one that was not taken over yet, or a new one.
    async fn held_back(
        &self,
        user: &User,
        policy: Option<String>,
        by: By,
    ) -> Result<Token, AdminError> {
        let view = self.core.store.view(&user.key)?;
        let view = view.ok_or(AdminError::NotFound("user"))?;
        let pending = view.tokens.into_iter().map(|(token, _)| token);
        let mut linked = pending.filter(|token| {
            token.user == user.key
                && token.kind == Kind::Totp
                && token.state_at(by.at) == LifeCycle::Pending
                && token.enrolment.link.is_some()
        });
        let (mut open, mut redeemed) = (None, None);
        for token in linked.by_ref() {
            let taken = token
                .enrolment
                .link
                .is_some_and(|one| one.redeemed.is_some());
            let place = if taken { &mut redeemed } else { &mut open };
            *place = Some(token);
        }
        if let Some(token) = open {
            self.claim_now(user.clone(), &[Touched::Token], &by).await?;
            return Ok(token);
        }
        let new = NewToken {
            user: user.key.clone(),
            kind: Kind::Totp,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: None,
            counter: 0,
            active: false,
            serial: None,
        };
        let enrol = Enrol {
            by_link: true,
            policy,
            // The key went somewhere, but no code ever came.
            replaces: redeemed.map(|token| token.serial),
            ..new.into()
        };
        Ok(self.enrol_token(enrol, by).await?.token)
    }

    async fn send_link(
        &self,
        linked: &mut Linked,
        user: &User,
        recipients: &[(Medium, String)],
        request: RequestId,
    ) {
        let texts = self.core.texts();
        let (language, name) = (user.language, user.display_name.as_deref());
        let until = texts.time(language, linked.until);
        let values = [
            (Place::Link, linked.link.expose()),
            (Place::User, name.unwrap_or_else(|| user.key.name())),
            (Place::Until, &until),
        ];
        for (place, (medium, to)) in (1_u8..).zip(recipients) {
            let mut id = request.to_bytes();
            id[15] = id[15].wrapping_add(place);
            let message = Message {
                id,
                medium: *medium,
                to: to.clone(),
                subject: texts.subject(language, *medium, Text::EnrolLink, &values),
                text: texts.message(language, *medium, &[Text::EnrolLink], &values),
                code: None,
                language,
            };
            let (target, whose) = (linked.serial.to_string(), user.key.to_string());
            let shown = mask(*medium, to);
            match self.core.carry(message, target, Some(whose)).await {
                Ok(_) => linked.sent.push((*medium, shown)),
                Err(error) => linked.failed.push(format!("{medium} to {shown}: {error}")),
            }
        }
    }

    /// The owner takes the key over, by the code of a link. `None`: it is no code of a link that is open.
    pub async fn redeem_link(
        &self,
        serial: &Serial,
        code: &SecretString,
        by: By,
    ) -> Result<Option<(Token, User)>, AdminError> {
        let Some(token) = self.linked(serial, code)? else {
            return Ok(None);
        };
        let user = self.user(&token.user)?;
        if user.disabled {
            return Ok(None);
        }
        let change = Change::RedeemLink {
            serial: serial.clone(),
            mark: mark(&token, code),
            by_device: false,
            expected: token.revision,
        };
        let by = of_owner(&token, by);
        match self.core.store.change(change, by).await {
            Ok(()) => {}
            Err(StoreError::NotTaken | StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (token, _) = self.token(serial)?;
        Ok(Some((token, user)))
    }

    /// The owner takes a device instead: the token of the link ends, and one that waits for a device is handed
    /// out. `None`: it is no code of a link that is open.
    pub async fn redeem_link_by_device(
        &self,
        serial: &Serial,
        code: &SecretString,
        by: By,
    ) -> Result<Option<Offered>, AdminError> {
        let Some(token) = self.linked(serial, code)? else {
            return Ok(None);
        };
        if self.user(&token.user)?.disabled {
            return Ok(None);
        }
        let policies = self.core.policies();
        let named = token.enrolment.policy.as_deref();
        let policy = policies.resolve(named).or_else(|| policies.resolve(None));
        let takes = policy.is_some_and(|policy| policy.otp.kinds.contains(&Kind::Server));
        if !takes || self.strictest_approvers(Kind::Server, named) > 0 {
            return Err(AdminError::Forbidden(
                "codes of the authenticator in the browser are not taken here, or others must approve it: use an \
                 authenticator app",
            ));
        }
        let by = of_owner(&token, by);
        let change = Change::RedeemLink {
            serial: serial.clone(),
            mark: mark(&token, code),
            by_device: true,
            expected: token.revision,
        };
        match self.core.store.change(change, by.clone()).await {
            Ok(()) => {}
            Err(StoreError::NotTaken | StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Where it ends here, the link is used up: the person asks for another one.
        let new = NewToken {
            user: token.user.clone(),
            kind: Kind::Server,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: None,
            counter: 0,
            active: false,
            serial: None,
        };
        let enrol = Enrol {
            policy: token.enrolment.policy.clone(),
            replaces: token.enrolment.replaces.clone(),
            ..new.into()
        };
        let made = self.enrol_token(enrol, by.clone()).await?.token;
        let offered = self
            .offer_token(&made.serial, &[], None, None, by.clone())
            .await?;
        let token = &offered.handed.token;
        if must_confirm(token) {
            // The page that has the link takes the first code of what it brought.
            let link = Link {
                mark: mark(token, code),
                until: by.at,
                redeemed: Some(by.at),
            };
            self.offer_link(&token.serial, link, token.revision, by)
                .await?;
        }
        Ok(Some(offered))
    }

    /// Proves the token by its first right code, on the page of its link. `None`: it is no code of a link that
    /// was used within the last hour, or its owner is disabled.
    pub async fn confirm_link(
        &self,
        serial: &Serial,
        code: &SecretString,
        typed: &SecretString,
        by: By,
    ) -> Result<Option<Token>, AdminError> {
        let Some(token) = self.linked(serial, code)? else {
            return Ok(None);
        };
        let redeemed = token.enrolment.link.and_then(|link| link.redeemed);
        if redeemed.is_none_or(|at| by.at.since(at) >= ON_THE_PAGE) {
            return Ok(None);
        }
        let by = of_owner(&token, by);
        match self.prove_own(serial, typed, by).await {
            // As where the key is taken over.
            Err(AdminError::Refused(Reason::UserDisabled)) => Ok(None),
            proven => proven.map(Some),
        }
    }

    /// The token whose link has this code.
    fn linked(&self, serial: &Serial, code: &SecretString) -> Result<Option<Token>, AdminError> {
        let found = self.core.store.token(serial)?;
        let Some(code) = canonical(code.expose(), usize::from(LENGTH)) else {
            return Ok(None);
        };
        Ok(found.map(|(token, _)| token).filter(|token| {
            let link = token.enrolment.link;
            link.is_some_and(|link| link.mark == mark(token, &code))
        }))
    }
}

/// Whether a device's token comes into use by a first code that is confirmed, and not by the device's key alone.
pub fn must_confirm(token: &Token) -> bool {
    token.enrolment.verify && token.enrolment.first_use_within.is_none()
}

/// In the name of the token's owner.
fn of_owner(token: &Token, by: By) -> By {
    By {
        actor: format!("user {}", token.user),
        ..by
    }
}

fn mark(token: &Token, code: &SecretString) -> Mark {
    // As it is compared: who types it may write it in small letters.
    let code = canonical(code.expose(), usize::from(LENGTH));
    let text = code.as_ref().map_or("", SecretString::expose);
    Mark::of(&token.key, "link", None, text)
}

/// `https://HOST/enrol#SERIAL.CODE`: what stands behind `#` is not sent to any server, proxy or log.
fn address(public_url: &str, serial: &Serial, code: &SecretString) -> SecretString {
    let base = public_url.trim_end_matches('/');
    // Room for all of it: a buffer that grows leaves copies of the code behind.
    let mut link = String::with_capacity(base.len() + 3 * serial.as_str().len() + 64);
    link.push_str(base);
    link.push_str("/enrol#");
    percent_encode(serial.as_str(), &mut link);
    link.push('.');
    link.push_str(code.expose());
    SecretString::new(link)
}

/// Characters of a link's code: 125 bits.
const LENGTH: u8 = 25;
/// How long the page of a link takes a first code.
const ON_THE_PAGE: Duration = Duration::from_hours(1);
const LONGEST: Duration = Duration::from_hours(24 * 365);
