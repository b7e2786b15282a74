//! How tokens of every kind are made: by the rules of a policy, with a key of their own.
//!
//! ```text
//! request, others must approve -> requested                      nothing is shown
//! handed out at once           -> pending     key, card or nothing; proven by a first right code
//! nothing left to prove        -> active      recovery codes; what an administrator vouches for
//! ```
//!
//! Invariants: keys, cells and codes are in the answer that hands them out, and in no other. A token
//! of an address is never in use before a code that was sent there came back, unless an administrator
//! says so (capabilities C2). What it replaces ends when it is proven, in the same transaction (capabilities C11).

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::{AdminError, NewToken, invalid, missing};
use crate::core::CoreError;
use crate::model::device::DeviceCall;
use crate::model::enrolment::Enrolment;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::message::{Medium, address};
use crate::model::token::{LifeCycle, Moving, Token, TokenState};
use crate::model::user::{Touched, User};
use crate::model::user_key::UserKey;
use crate::otp::normal::NormalKey;
use crate::otp::recovery::Used;
use crate::otp::{Digits, card, recovery, yubikey};
use crate::policy::Policy;
use crate::secret::{OtpKey, SecretBytes, SecretString, random};
use crate::store::{By, Change};
use crate::time::UnixTime;

/// A token to be made, and by which rules.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a wish of its own
pub struct Enrol {
    /// What it is. Hash function, digits, period, key and counter are those of `totp` and `hotp`.
    pub token: NewToken,
    /// Where its codes are sent; the user's telephone number or mail address when none.
    pub address: Option<String>,
    /// The user's token that ends when this one is proven.
    pub replaces: Option<Serial>,
    /// How long it lasts; as the policy says when nothing is said.
    pub validity: Option<Validity>,
    /// Whether others must approve it first, as many as the policy says.
    pub request: bool,
    /// Whether who asks may not choose by whose rules: as many must approve as the strictest policy in
    /// use says, or an operator would name a lax one.
    pub strict: bool,
    /// Whose rules; `default` when none.
    pub policy: Option<String>,
    /// Recovery codes on the sheet.
    pub count: Option<u8>,
    /// Whether the user asks for it, proven by a password or PIN alone.
    pub by_knowledge: bool,
    /// Whether its key is held back until its owner takes it over by a link.
    pub by_link: bool,
    /// The request of the device that asks for it and carries it.
    pub carrier: Option<DeviceCall>,
}

/// How long a token lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// Until then.
    Until(UnixTime),
    /// So long from when it comes into use.
    For(Duration),
}

/// A token that was made or handed out, and what is shown with it only now.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The token, with its key.
    pub token: Token,
    /// Its state.
    pub state: TokenState,
    /// The cells of a card.
    pub cells: Vec<SecretString>,
    /// The codes of a recovery sheet.
    pub codes: Vec<SecretString>,
}

impl From<NewToken> for Enrol {
    fn from(token: NewToken) -> Self {
        Self {
            token,
            address: None,
            replaces: None,
            validity: None,
            request: false,
            strict: false,
            policy: None,
            count: None,
            by_knowledge: false,
            by_link: false,
            carrier: None,
        }
    }
}

impl Handed {
    /// With what is printed of it.
    pub(super) fn printed(token: Token, state: &TokenState) -> Self {
        let printed = u32::from(recovery::MAX).saturating_sub(state.used.count());
        let printed = u8::try_from(printed).unwrap_or_default();
        Self {
            cells: match token.kind {
                Kind::Card => card::cells(&token.key),
                _ => Vec::new(),
            },
            codes: match token.kind {
                Kind::Recovery => recovery::sheet(&token.key, printed),
                _ => Vec::new(),
            },
            token,
            state: *state,
        }
    }

    /// Without: it was printed before, or is not to be yet.
    pub(super) const fn unprinted(token: Token, state: &TokenState) -> Self {
        Self {
            token,
            state: *state,
            cells: Vec::new(),
            codes: Vec::new(),
        }
    }
}

impl Admin {
    /// Makes a token by the rules of a policy.
    pub async fn enrol_token(&self, new: Enrol, by: By) -> Result<Handed, AdminError> {
        check_kind(&new)?;
        let policies = self.core.policies();
        let Some(policy) = policies.resolve(new.policy.as_deref()) else {
            let named = new.policy.as_deref().unwrap_or_default();
            return invalid("policy", self.unknown_policy(named));
        };
        let user = self.user(&new.token.user)?;
        let address = self.sent_to(&new, &user)?;
        self.check_replaced(&new)?;
        let kind = new.token.kind;
        let needed = match (new.request, new.strict) {
            (false, _) => 0,
            (true, false) => policy.enrolment.approvers.of(kind),
            (true, true) => self.strictest_approvers(kind, new.policy.as_deref()),
        };
        let (expires, valid_for) = lasts(&new, policy, by.at)?;
        let state = first_state(&new, policy, needed)?;
        let serial = self.serial(&new.token)?;
        let key = self.key_of(new.token.kind, new.token.key.clone())?;
        if new.token.key.is_some() {
            let normal = NormalKey::of(&key, new.token.algorithm);
            self.refuse_seed(&normal, &user.key)?;
        }
        // Where others must approve, they are the second person.
        if needed == 0 {
            let elsewhere = new.address.is_some() && !self.is_on_record(address.as_deref(), &user);
            // A token that sends elsewhere is a new address as well.
            let touched = [Touched::Token, Touched::Contact];
            let touched = &touched[..=usize::from(elsewhere)];
            self.claim_now(user.clone(), touched, &by).await?;
        }
        let enrolment = enrolment(&new, policy, (needed, valid_for), &by);
        let token = Token {
            serial,
            user: user.key,
            kind: new.token.kind,
            state,
            algorithm: new.token.algorithm,
            digits: digits(&new.token, policy),
            period: new.token.period,
            key,
            address,
            device: new.carrier.as_ref().map(|call| call.device.clone()),
            expires,
            enrolment: match state {
                LifeCycle::Pending => enrolment.handed_out(by.at),
                _ => enrolment,
            },
            created: by.at,
            revision: self.core.first_revision().map_err(CoreError::from)?,
        };
        let made = (token, begins(&new));
        let (token, state) = self.begun(made, new.token.key.is_some(), by.at)?;
        let change = match new.carrier {
            None => Change::CreateToken(token.clone(), state),
            Some(call) => Change::CarryToken(Box::new(token.clone()), call),
        };
        let made = self.core.store.change(change, by).await;
        made.map_err(|error| missing(error, "user"))?;
        // As it is on record: its end may have been set, the step of the same key under another name
        // remembered.
        let (token, state) = self.token(&token.serial)?;
        self.requests.is_now(&token);
        Ok(match token.state {
            LifeCycle::Requested => Handed::unprinted(token, &state),
            _ => Handed::printed(token, &state),
        })
    }

    /// How many must approve a token of this kind by the strictest policy in use, `named` included.
    pub(super) fn strictest_approvers(&self, kind: Kind, named: Option<&str>) -> u8 {
        let (policies, clients) = (self.core.policies(), self.core.clients.all());
        let in_use = clients.iter().map(|client| client.policy.as_deref());
        let in_use = in_use.chain([named, None]);
        let in_use = in_use.filter_map(|name| policies.resolve(name));
        let needed = in_use.map(|policy| policy.enrolment.approvers.of(kind));
        needed.max().unwrap_or_default()
    }

    /// Gives addresses of users their one form.
    pub(super) fn addresses(
        &self,
    ) -> impl Fn(&'static str, Medium, &str) -> Result<String, AdminError> {
        |field, medium, text| self.normal(field, medium, text)
    }

    /// The address in its one form.
    pub(crate) fn normal(
        &self,
        field: &'static str,
        medium: Medium,
        text: &str,
    ) -> Result<String, AdminError> {
        let home = self.core.home.load();
        address(medium, text, home.as_deref()).or_else(|error| invalid(field, error.to_string()))
    }

    fn sent_to(&self, new: &Enrol, user: &User) -> Result<Option<String>, AdminError> {
        let Some(medium) = Medium::of(new.token.kind) else {
            if new.address.is_some() {
                return invalid("address", "only sms, email and voice tokens have one");
            }
            return Ok(None);
        };
        let (own, option) = match medium {
            Medium::Email => (&user.email, "--email"),
            Medium::Sms | Medium::Voice => (&user.phone, "--phone"),
        };
        let Some(text) = new.address.as_ref().or(own.as_ref()) else {
            let kind = new.token.kind;
            return invalid(
                "address",
                format!(
                    "the user has none for {kind}: give one here, or set it with \
                     `oncegate user set {option}`"
                ),
            );
        };
        self.normal("address", medium, text).map(Some)
    }

    /// Whether the user is reached at this address anyway.
    fn is_on_record(&self, address: Option<&str>, user: &User) -> bool {
        let own = [(Medium::Sms, &user.phone), (Medium::Email, &user.email)];
        own.into_iter().any(|(medium, own)| {
            let own = own
                .as_deref()
                .and_then(|own| self.normal("address", medium, own).ok());
            own.is_some() && own.as_deref() == address
        })
    }

    fn check_replaced(&self, new: &Enrol) -> Result<(), AdminError> {
        let Some(old) = &new.replaces else {
            return Ok(());
        };
        let found = self.core.store.token(old)?;
        let own = found.is_some_and(|(token, _)| {
            token.user == new.token.user && token.state.may_become(LifeCycle::Revoked)
        });
        if own {
            return Ok(());
        }
        invalid("replaces", "the user has no such token that is not ended")
    }

    /// A key that another user's token has. The store refuses it in any case; this names the token.
    pub(super) fn refuse_seed(&self, key: &NormalKey, user: &UserKey) -> Result<(), AdminError> {
        let Some(serial) = self.core.store.with_key(key)? else {
            return Ok(());
        };
        let other = self.core.store.token(&serial)?;
        if other.is_some_and(|(token, _)| token.user == *user) {
            return Ok(());
        }
        Err(AdminError::SeedTaken(Some(serial)))
    }

    pub(super) fn key_of(
        &self,
        kind: Kind,
        given: Option<SecretBytes>,
    ) -> Result<OtpKey, AdminError> {
        let octets = given.as_ref().map(|key| key.expose().len());
        if kind == Kind::Yubikey && octets.is_some_and(|octets| octets != yubikey::SECRET) {
            return invalid(
                "secret",
                "the key of a yubikey has 16 octets, and 6 more of the private id",
            );
        }
        let key = match given {
            None if kind == Kind::Yubikey => SecretBytes::new(
                random::<{ yubikey::SECRET }>(self.core.entropy.as_ref())
                    .map_err(CoreError::from)?
                    .to_vec(),
            ),
            Some(key) => key,
            None => SecretBytes::new(
                random::<{ OtpKey::GENERATED }>(self.core.entropy.as_ref())
                    .map_err(CoreError::from)?
                    .to_vec(),
            ),
        };
        OtpKey::new(key).ok_or_else(|| AdminError::Invalid {
            field: "secret",
            message: "a key has 10 to 128 octets (80 to 1024 bits); 20 octets are usual".to_owned(),
        })
    }

    pub(super) fn serial(&self, new: &NewToken) -> Result<Serial, AdminError> {
        if let Some(serial) = &new.serial {
            if new.kind == Kind::Yubikey && !yubikey::is_public_id(serial.as_str()) {
                return invalid("public_id", PUBLIC_ID);
            }
            return Ok(serial.clone());
        }
        if new.kind == Kind::Yubikey {
            let random = random(self.core.entropy.as_ref()).map_err(CoreError::from)?;
            let parsed = yubikey::new_public_id(random).parse();
            return parsed.or_else(|_| invalid("public_id", PUBLIC_ID));
        }
        if new.kind == Kind::Card {
            // Its last digits begin every answer, and are read out on the telephone.
            let number = self.core.digits(CARD_DIGITS)?;
            if let Ok(serial) = format!("CARD-{}", number.expose()).parse() {
                return Ok(serial);
            }
        }
        let random = random(self.core.entropy.as_ref()).map_err(CoreError::from)?;
        Ok(Serial::new(new.kind.as_str(), random))
    }
}

/// What does not go together.
fn check_kind(new: &Enrol) -> Result<(), AdminError> {
    let kind = new.token.kind;
    if kind == Kind::Push {
        return invalid(
            "kind",
            "this version makes totp, hotp, server, sms, email, voice, card, recovery and yubikey tokens",
        );
    }
    if new.token.key.is_some() && !kind.is_keyed() {
        return invalid(
            "secret",
            "only totp, hotp and yubikey tokens come with a key",
        );
    }
    if kind == Kind::Yubikey && new.token.key.is_none() && new.request {
        return invalid("secret", "the request for a yubikey comes with its key");
    }
    let card_number = |serial: &Serial| {
        let number = serial.as_str().strip_prefix("CARD-");
        number.is_some_and(|digits| {
            digits.len() == usize::from(CARD_DIGITS) && digits.bytes().all(|o| o.is_ascii_digit())
        })
    };
    if kind == Kind::Card
        && new
            .token
            .serial
            .as_ref()
            .is_some_and(|one| !card_number(one))
    {
        return invalid("serial", "a card is called CARD- and eight digits");
    }
    match new.count {
        Some(_) if kind != Kind::Recovery => invalid("count", "only recovery tokens have one"),
        Some(count) if !(1..=recovery::MAX).contains(&count) => {
            invalid("count", "a sheet has 1 to 32 codes")
        }
        _ => Ok(()),
    }
}

/// From when it is no longer good, and how long it is from its first use.
fn lasts(
    new: &Enrol,
    policy: &Policy,
    at: UnixTime,
) -> Result<(Option<UnixTime>, Option<Duration>), AdminError> {
    match new.validity {
        None => Ok((None, policy.enrolment.valid_for)),
        Some(Validity::Until(end)) if end <= at => invalid("expires", "that is past"),
        Some(Validity::Until(end)) => Ok((Some(end), None)),
        Some(Validity::For(length)) if !(SHORTEST..=LONGEST).contains(&length) => {
            invalid("valid_for", "a token lasts 1 minute to 3650 days")
        }
        Some(Validity::For(length)) => Ok((None, Some(length))),
    }
}

/// How the token comes to be, for its record.
fn enrolment(
    new: &Enrol,
    policy: &Policy,
    (needed, valid_for): (u8, Option<Duration>),
    by: &By,
) -> Enrolment {
    Enrolment {
        requester: by.actor.clone(),
        // Anyone who approves it is another proof.
        by_knowledge: new.by_knowledge && needed == 0,
        needed,
        approvals: Vec::new(),
        replaces: new.replaces.clone(),
        max_active: policy.enrolment.max_active.of(new.token.kind),
        verify: policy.enrolment.verify,
        valid_for: valid_for.map(|length| length.as_secs()),
        first_use_within: policy.enrolment.first_use().map(|within| within.as_secs()),
        first_use_until: None,
        link: None,
        policy: new.policy.clone(),
    }
}

/// Where its moving factor starts, and which of its codes are there.
fn begins(new: &Enrol) -> TokenState {
    TokenState {
        moving: Moving {
            last: new.token.counter.checked_sub(1),
            ..Moving::default()
        },
        used: unprinted(new.token.kind, new.count.unwrap_or(recovery::COUNT)),
        ..TokenState::default()
    }
}

fn first_state(new: &Enrol, policy: &Policy, needed: u8) -> Result<LifeCycle, AdminError> {
    let kind = new.token.kind;
    if new.token.active && kind == Kind::Server {
        return invalid(
            "active",
            "a server token comes into use when a device redeems its code: `oncegate token offer`",
        );
    }
    if needed > 0 && new.token.active {
        return invalid("active", "others must approve it first; leave it out");
    }
    Ok(if needed > 0 {
        LifeCycle::Requested
    } else if new.by_link {
        LifeCycle::Pending
    } else if new.token.active || !needs_proof(kind, policy.enrolment.verify) {
        LifeCycle::Active
    } else {
        LifeCycle::Pending
    })
}

/// Whether a token that is handed out is not in use before something came back. Of an address always:
/// that it is the user's own is known by nothing else.
pub(super) const fn needs_proof(kind: Kind, verify: bool) -> bool {
    match kind {
        Kind::Recovery => false,
        Kind::Totp | Kind::Hotp | Kind::Yubikey | Kind::Card => verify,
        _ => true,
    }
}

fn digits(new: &NewToken, policy: &Policy) -> Digits {
    match new.kind {
        Kind::Totp | Kind::Hotp => new.digits,
        Kind::Card => Digits::SEVEN,
        Kind::Yubikey => Digits::default(),
        _ => policy.codes.digits,
    }
}

/// A sheet always has as many places; those that were not printed are used up.
fn unprinted(kind: Kind, count: u8) -> Used {
    if kind != Kind::Recovery {
        return Used::default();
    }
    (count..recovery::MAX).fold(Used::default(), |used, place| used.with(place.into()))
}

const PUBLIC_ID: &str =
    "a yubikey is called by its public id: 1 to 16 of the letters cbdefghijklnrtuv";
/// Digits of a card's number.
const CARD_DIGITS: u8 = 8;
/// An emergency code that is read out on the telephone.
pub(super) const SHORTEST: Duration = Duration::from_mins(1);
/// As the longest `valid_for` of a policy.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 3650);
