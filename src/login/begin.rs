//! Rounds that an application begins itself, without a first factor: a code is sent, cells are drawn,
//! digits are shown. And how such a round stands, or a challenge of a login.
//!
//! Invariants: an answer is the same whether or not there is such a user, token or telephone: what
//! cannot be begun is a round that cannot be finished (threats T12). Why is in the audit. It leaves on
//! the schedule of rejects, and each one costs one commit; where that fails there is no answer for any
//! name. How a round stands says only what someone with the right code brought about in it: whether wrong
//! ones are counted depends on who is a user. A code is for one client: where it was asked for at another
//! one a moment before, the round cannot be finished.

use std::time::Duration;

use crate::core::issue::{Form, Made, Wanted};
use crate::core::{CoreError, policy_of, shorten};
use crate::login::Login;
use crate::login::candidates::Slot;
use crate::login::case::Case;
use crate::login::challenge::{Reached, Stage};
use crate::login::prompt::prompt;
use crate::login::ticket::{self, Behind, Ticket};
use crate::login::{Challenged, LoginRequest, challenge, facts};
use crate::model::issue::{IssueRefusal, Way};
use crate::model::kind::Kind;
use crate::model::reason::Reason;
use crate::model::token::{Token, TokenState};
use crate::model::user_key::UserKey;
use crate::notice::Text;
use crate::otp::issued::client_mark;
use crate::policy::{Factor, Policy, Rule};
use crate::secret::{SecretString, random};
use crate::store::{By, Change, View};
use crate::time::UnixTime;

/// A round that was begun.
#[derive(Debug)]
pub struct Begun {
    /// What the person is asked for.
    pub challenge: Challenged,
    /// Digits to be shown to the person, who sends or keys them in elsewhere.
    pub display: Option<SecretString>,
    /// How long after arrival the answer may leave.
    pub delay: Duration,
}

words! {
    /// How a round stands.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Standing {
        /// The right answer has not come yet.
        Pending = "pending",
        /// The right answer came. Of an inbound round: finish it by `POST /v1/verify` with the challenge.
        Accepted = "accepted",
        /// Too late.
        Expired = "expired",
    }
}

/// Why a round cannot be begun, for the audit.
enum Refused {
    Login(Reason),
    Other(&'static str),
}

impl Login {
    /// Begins a round. `inbound`: the person sends the digits that are shown to us, instead of typing
    /// what we sent. What is presented in `request` is not looked at.
    pub async fn begin(
        &self,
        request: &LoginRequest<'_>,
        factor: Factor,
        inbound: bool,
    ) -> Result<Begun, CoreError> {
        let policies = self.core.policies.load_full();
        let policy = policy_of(request.client, &policies)?;
        let at = self.core.window_time(request.at)?;
        let key = self.core.whose(request.client, request.user)?;
        let way = if inbound { Way::Inbound } else { Way::Code };
        let view = match &key {
            Some(key) => self.core.store.view(key)?,
            None => None,
        };
        let made = match &view {
            Some(view) => {
                self.round_code(request, policy, view, factor, way, at)
                    .await?
            }
            None => Err(Refused::Login(Reason::UnknownUser)),
        };
        let (made, why) = match made {
            Ok(made) => (Some(made), None),
            Err(Refused::Login(reason)) => (None, Some(reason.as_str())),
            Err(Refused::Other(why)) => (None, Some(why)),
        };
        // What was sent a moment ago, and cells that were drawn before, are asked for again.
        let again = made.as_ref().is_some_and(|(_, serial, made)| {
            let mut tokens = view.iter().flat_map(|view| &view.tokens);
            tokens.any(|(token, state)| {
                token.serial.as_str() == serial && state.issued == Some(made.issued)
            })
        });
        let again = again.then_some("the code before is still good");
        if let Some(why) = why.or(again) {
            let detail = format!("{factor} {}: {why}", way.as_str());
            self.not_issued(request, key.as_ref(), at, detail).await?;
        }
        let expires_in = life(policy, factor, way);
        let (number, serial) = match &made {
            Some((rule, serial, made)) => {
                let challenge = self.sealed(request, policy, rule, view.as_ref(), at)?;
                return self.begun(request, policy, factor, way, &challenge, serial, made);
            }
            None => (0, String::new()),
        };
        let mut decoy = self.decoy(request, policy, factor)?;
        let ticket = Ticket {
            user: request.user.chars().take(64).collect(),
            serial,
            number,
            expires: at.plus(expires_in),
        };
        decoy.id = self.ticketed(request, &decoy.id, (&ticket, Behind::Begun))?;
        decoy.expires_in = expires_in;
        if factor != Factor::Card {
            decoy.prompt = self.prompt(self.core.language(), asks(factor, way)).into();
        }
        let display = inbound.then(|| self.core.digits(DIGITS)).transpose()?;
        Ok(Begun {
            challenge: decoy,
            display,
            delay: self.schedule(request, policy.reject_delay),
        })
    }

    /// Writes down why no code was made: beside why, it costs what a code that is made costs, and fails where
    /// that fails. An answer while nothing can be written would tell users with a card from others.
    async fn not_issued(
        &self,
        request: &LoginRequest<'_>,
        key: Option<&UserKey>,
        at: UnixTime,
        detail: String,
    ) -> Result<(), CoreError> {
        let by = By::new(
            format!("{} {}", request.channel, request.client.name),
            (request.id, at),
        );
        let shown = key.map_or_else(|| shorten(request.user), UserKey::to_string);
        let change = Change::Note {
            action: "code_refuse",
            target: shown.clone(),
            user: Some(shown),
            detail,
        };
        Ok(self.core.store.change(change, by).await?)
    }

    /// A challenge of a login whose client may ask how it stands. The id is as long for every name of this length,
    /// whether or not it is a user's.
    pub fn followed(
        &self,
        request: &LoginRequest<'_>,
        asked: Challenged,
    ) -> Result<Challenged, CoreError> {
        // Challenges know the second in which they were made, and end by it.
        let made = UnixTime::from_secs(asked.made.as_secs());
        let user = self.core.key(request.client, request.user);
        let ticket = Ticket {
            user: user.map_or_else(|_| shorten(request.user), |user| user.joined()),
            serial: String::new(),
            number: challenge::name_of(&asked.id, made).ok_or(CoreError::Contended)?,
            expires: made.plus(asked.expires_in),
        };
        let id = self.ticketed(request, &asked.id, (&ticket, Behind::Login))?;
        Ok(Challenged { id, ..asked })
    }

    /// How a round of this client stands; `None`: it has none with this id.
    pub fn standing(&self, client: &str, id: &str) -> Result<Option<Standing>, CoreError> {
        let opened = |behind| ticket::open_behind(&self.challenge_key, client, id, behind);
        let Some((ticket, behind)) = [Behind::Begun, Behind::Login]
            .into_iter()
            .find_map(|behind| Some((opened(behind)?, behind)))
        else {
            return Ok(None);
        };
        let at = self.core.window_time(self.core.now())?;
        let right = match behind {
            Behind::Begun => self.is_answered(&ticket, id, at)?,
            Behind::Login => self.is_right(&ticket)?,
        };
        Ok(Some(if right {
            Standing::Accepted
        } else if at >= ticket.expires {
            Standing::Expired
        } else {
            Standing::Pending
        }))
    }

    /// Whether the code that a round was begun with was given back in this round: several may ask for one code.
    fn is_answered(&self, ticket: &Ticket, id: &str, at: UnixTime) -> Result<bool, CoreError> {
        let found = match ticket.serial.parse() {
            Ok(serial) => self.core.store.token(&serial)?,
            Err(_) => None,
        };
        let this = ticket::mark(id);
        Ok(found.is_some_and(|(_, state)| {
            let last = state.moving.last;
            let live = state.issued.filter(|issued| issued.number == ticket.number);
            match live {
                Some(issued) if issued.is_spent() => false,
                Some(issued) if issued.is_open(last, at) => issued.answered,
                _ => last == Some(ticket.number) && state.round.is_some() && state.round == this,
            }
        }))
    }

    /// Whether a challenge of a login was answered right.
    fn is_right(&self, ticket: &Ticket) -> Result<bool, CoreError> {
        let view = match UserKey::parse(&ticket.user) {
            Ok(user) => self.core.store.view_by_name(&user)?,
            Err(_) => None,
        };
        Ok(view.is_some_and(|view| view.state.right.contains(&ticket.number)))
    }

    async fn round_code<'p>(
        &self,
        request: &LoginRequest<'_>,
        policy: &'p Policy,
        view: &View,
        factor: Factor,
        way: Way,
        at: UnixTime,
    ) -> Result<Result<(&'p Rule, String, Made), Refused>, CoreError> {
        let login = |reason| Ok(Err(Refused::Login(reason)));
        if view.user.disabled {
            return login(Reason::UserDisabled);
        }
        let Some(rule) = policy.decide(&facts(request, view, at)).rule() else {
            return login(Reason::NoRule);
        };
        let outage = self.relief(rule, at)?.is_some();
        let held = rule.require.iter().copied().find(|one| {
            !one.is_knowledge()
                && rule
                    .accepts(*one, outage)
                    .any(|accepted| accepted == factor)
        });
        let Some(held) = held else {
            return Ok(Err(Refused::Other("the rule does not take this factor")));
        };
        if way == Way::Inbound && (rule.require.len() == 1 || rule.min_assurance > 1) {
            // Two digits are a hint of presence, no proof (capabilities D1): an extra factor only.
            return Ok(Err(Refused::Other(
                "two digits are too little for the rule",
            )));
        }
        let case = Case {
            request,
            policy,
            rule,
            at,
            least: 0,
        };
        if let Err(reason) = self.unblocked(case, view)? {
            return login(reason);
        }
        let slot = match Slot::of(
            held,
            case.place(view, &rule.require, rule.min_assurance, outage),
        ) {
            Ok(slot) => slot,
            Err(reason) => return login(reason),
        };
        let kinds = crate::policy::kinds_of(factor, &policy.otp);
        let tokens = slot
            .tokens
            .iter()
            .filter(|(token, _)| kinds.contains(&token.kind));
        let Some((token, state)) = tokens.max_by_key(|(_, state)| state.last_accept) else {
            return login(Reason::NoToken);
        };
        let made = self
            .round_message(request, policy, view, (token, state), way, at)
            .await?;
        Ok(match made {
            Ok(made) => Ok((rule, token.serial.to_string(), made)),
            Err(why) => Err(why),
        })
    }

    async fn round_message(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        view: &View,
        found: (&Token, &TokenState),
        way: Way,
        at: UnixTime,
    ) -> Result<Result<Made, Refused>, CoreError> {
        let kind = found.0.kind;
        let wanted = Wanted {
            request: request.id,
            at,
            actor: format!("{} {}", request.channel, request.client.name),
            form: match (kind, way) {
                (Kind::Card, _) => Form::Cells,
                (_, Way::Inbound) => Form::Digits(DIGITS),
                _ => Form::of(found.0.digits),
            },
            way,
            client: (way == Way::Code).then_some(request.client.name.as_str()),
            life: (kind != Kind::Card).then(|| life(policy, factor_of(kind), way)),
            message: None,
            device: None,
            uv: None,
        };
        // Who is to text us needs no message; who is to key in digits is called.
        let quiet = kind == Kind::Card || (way == Way::Inbound && kind == Kind::Sms);
        let made = if quiet {
            self.core.make_code(found, wanted).await?
        } else {
            self.core
                .send_code(found, view.user.language, wanted)
                .await?
        };
        // What was sent a moment ago is still good, and is what is asked for: at the client that it is for.
        let live = found.1.issued.filter(|live| {
            live.way == Way::Code && way == Way::Code && live.is_open(found.1.moving.last, at)
        });
        let here = client_mark(&found.0.key, &request.client.name);
        let elsewhere = found.1.client.is_some_and(|client| client != here);
        Ok(match (made, live) {
            (Err(IssueRefusal::TooSoon { .. } | IssueRefusal::Spent { .. }), Some(_))
                if elsewhere =>
            {
                Err(Refused::Other(ELSEWHERE))
            }
            (Err(IssueRefusal::TooSoon { .. } | IssueRefusal::Spent { .. }), Some(issued)) => {
                let text = SecretString::default();
                Ok(Made { issued, text })
            }
            (made, _) => made.map_err(|refusal| Refused::Other(refusal_word(&refusal))),
        })
    }

    fn sealed(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        rule: &Rule,
        view: Option<&View>,
        at: UnixTime,
    ) -> Result<String, CoreError> {
        let case = Case {
            request,
            policy,
            rule,
            at,
            least: 0,
        };
        let view = view.ok_or(CoreError::Contended)?;
        let credentials = self.bound_to(rule, view)?;
        let reached = Reached {
            stage: Stage::Application,
            ..Reached::default()
        };
        let nonce = random(self.core.entropy.as_ref())?;
        let id = case.sealed(&self.challenge_key, view, &credentials, reached, nonce);
        id.ok_or(CoreError::Contended)
    }

    #[allow(clippy::too_many_arguments)] // what an answer is put together from
    fn begun(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        factor: Factor,
        way: Way,
        id: &str,
        serial: &str,
        made: &Made,
    ) -> Result<Begun, CoreError> {
        let expires_in = life(policy, factor, way);
        let ticket = Ticket {
            user: request.user.chars().take(64).collect(),
            serial: serial.to_owned(),
            number: made.issued.number,
            // By the clock that ends it, as those for names that cannot go on.
            expires: self.core.window_time(request.at)?.plus(expires_in),
        };
        let prompt = match made.issued.pair {
            Some(pair) => self.cells(self.core.language(), pair),
            None => self.prompt(self.core.language(), asks(factor, way)),
        };
        Ok(Begun {
            challenge: Challenged {
                id: self.ticketed(request, id, (&ticket, Behind::Begun))?,
                made: request.at,
                factor,
                prompt: prompt.into(),
                expires_in,
            },
            display: (way == Way::Inbound).then(|| made.text.clone()),
            delay: self.schedule(request, policy.reject_delay),
        })
    }

    fn ticketed(
        &self,
        request: &LoginRequest<'_>,
        id: &str,
        ticket: (&Ticket, Behind),
    ) -> Result<String, CoreError> {
        let nonce = random(self.core.entropy.as_ref())?;
        let client = &request.client.name;
        let text = ticket::with_ticket(&self.challenge_key, client, id, ticket, nonce);
        text.ok_or(CoreError::Contended)
    }
}

const fn refusal_word(refusal: &IssueRefusal) -> &'static str {
    match refusal {
        IssueRefusal::Stale => "the token keeps changing",
        IssueRefusal::NotUsable => "no message can be sent, or the token is not in use",
        IssueRefusal::TooSoon { .. } => "the last message is too young",
        IssueRefusal::Spent { .. } => "no more messages today",
        IssueRefusal::Locked => "the card is locked",
        IssueRefusal::Device => "the device's request is not taken",
    }
}

const fn factor_of(kind: Kind) -> Factor {
    match kind {
        Kind::Email => Factor::Email,
        Kind::Voice => Factor::Voice,
        Kind::Card => Factor::Card,
        _ => Factor::Sms,
    }
}

/// How long an answer is awaited.
const fn life(policy: &Policy, factor: Factor, way: Way) -> Duration {
    match (way, factor) {
        (Way::Inbound, Factor::Voice) => INBOUND_VOICE,
        (Way::Inbound, _) => INBOUND_SMS,
        (_, Factor::Card) => policy.challenge.life,
        _ => policy.codes.life,
    }
}

const fn asks(factor: Factor, way: Way) -> Text {
    match (way, factor) {
        (Way::Inbound, Factor::Voice) => Text::KeyInDigits,
        (Way::Inbound, _) => Text::SendDigits,
        _ => prompt(factor),
    }
}

/// What the audit says where the code that was sent before is good at another client only.
const ELSEWHERE: &str =
    "no other message may leave yet, and the code of the last one is for another client";
/// Digits shown for an answer on another channel (capabilities C7, D1, D3).
const DIGITS: u8 = 2;
/// How long a text message from the person is awaited (capabilities D3).
const INBOUND_SMS: Duration = Duration::from_mins(5);
/// How long keys pressed in a call are awaited (capabilities D1).
const INBOUND_VOICE: Duration = Duration::from_mins(2);
