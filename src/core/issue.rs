//! Codes that the server makes: drawing them, keeping their marks, and sending them off.
//!
//! ```text
//! wanted -> draw -> store.issue (durable, limited) -> courier, in a task of its own
//! ```
//!
//! Invariants: a code leaves only after its mark is durable; no gateway is waited for by anyone who
//! asked (a slow one holds back no one's login); a refusal to send looks like a message that was
//! sent, because an earlier code may still be good and no one else is to learn who has a telephone.

use std::sync::Arc;
use std::time::Duration;

use crate::core::courier::{Delivered, DeliveryError};
use crate::core::{Core, CoreError, TRIES};
use crate::model::device::DeviceCall;
use crate::model::id::RequestId;
use crate::model::issue::{Issue, IssueRefusal, Issued, Quota, Way, next_number};
use crate::model::message::{Language, Medium, Message, mask};
use crate::model::token::{Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::UserKey;
use crate::notice::{Place, Text};
use crate::otp::issued::Mark;
use crate::otp::{Digits, card, issued};
use crate::secret::{OtpKey, SecretBytes, SecretString, random};
use crate::store::{By, Change, KeyPurpose, Store};
use crate::time::UnixTime;

/// A code to be made.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// Names the request.
    pub(crate) request: RequestId,
    /// When it arrived.
    pub(crate) at: UnixTime,
    /// Who asked, for the audit.
    pub(crate) actor: String,
    /// What the code looks like.
    pub(crate) form: Form,
    /// What it is for.
    pub(crate) way: Way,
    /// The only client that may be given it, when there is one.
    pub(crate) client: Option<&'a str>,
    /// How long it is good; `None`: until it is answered or locked.
    pub(crate) life: Option<Duration>,
    /// Whether it leaves in a message, and what limits these.
    pub(crate) message: Option<Vec<Quota>>,
    /// The signed request of a device that asks.
    pub(crate) device: Option<DeviceCall>,
    /// How the device says that it made sure of its owner (capabilities A2).
    pub(crate) uv: Option<&'a str>,
}

/// What a code looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// So many decimal digits, at most 18.
    Digits(u8),
    /// So many Crockford characters, at most 25.
    Letters(u8),
    /// Two cells of the card.
    Cells,
}

impl Form {
    /// The form of a code with this length.
    pub(crate) const fn of(digits: Digits) -> Self {
        Self::Digits(digits.get())
    }
}

/// A code that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// Its record.
    pub(crate) issued: Issued,
    /// Its text; of a card empty: the answer is on the paper.
    pub(crate) text: SecretString,
}

/// Most messages a day (contract s7, threats T37).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendLimits {
    /// To one user.
    pub user: u32,
    /// To one address.
    pub address: u32,
    /// To numbers that differ in the last four digits only.
    pub prefix: u32,
    /// In all.
    pub all: u32,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            user: 10,
            address: 10,
            prefix: 100,
            all: 100_000,
        }
    }
}

impl SendLimits {
    /// What counts a message to this address.
    pub(crate) fn quotas(&self, user: &UserKey, medium: Medium, address: &str) -> Vec<Quota> {
        let quota = |scope, limit| Quota { scope, limit };
        let mut quotas = vec![
            quota(format!("user {user}"), self.user),
            quota(format!("address {address}"), self.address),
            quota(format!("all {medium}"), self.all),
        ];
        if medium != Medium::Email {
            let cut = address.len().saturating_sub(4);
            let prefix = address.get(..cut).unwrap_or(address);
            quotas.push(quota(format!("prefix {prefix}"), self.prefix));
        }
        quotas
    }
}

impl Core {
    /// Takes the limits on messages.
    pub fn set_send_limits(&self, limits: SendLimits) {
        self.send_limits.store(Arc::new(limits));
    }

    /// Makes a code of a token and keeps its mark. `found` is the token as it was read.
    pub(crate) async fn make_code(
        &self,
        found: (&Token, &TokenState),
        wanted: Wanted<'_>,
    ) -> Result<Result<Made, IssueRefusal>, CoreError> {
        let (mut token, mut state) = (found.0.clone(), *found.1);
        for _ in 0..TRIES {
            let number = next_number(&state);
            let (text, pair) = match wanted.form {
                Form::Cells => {
                    let live = state
                        .issued
                        .filter(|drawn| drawn.pair.is_some() && drawn.is_unused(state.moving.last));
                    if let Some(issued) = live {
                        if issued.is_spent() {
                            return Ok(Err(IssueRefusal::Locked));
                        }
                        // The same cells until they are answered.
                        let text = SecretString::default();
                        return Ok(Ok(Made { issued, text }));
                    }
                    (
                        SecretString::default(),
                        Some(card::pair(&token.key, number)),
                    )
                }
                Form::Digits(length) => (self.digits(length)?, None),
                Form::Letters(length) => (self.letters(length)?, None),
            };
            let issue = Issue {
                request: wanted.request,
                at: wanted.at,
                actor: wanted.actor.clone(),
                user: token.user.clone(),
                serial: token.serial.clone(),
                revision: token.revision,
                number,
                way: wanted.way,
                mark: Mark::of(
                    &token.key,
                    wanted.way.as_str(),
                    wanted.client,
                    text.expose(),
                ),
                // The answer of a card is good at every client.
                client: wanted
                    .client
                    .filter(|_| pair.is_none())
                    .map(|client| issued::client_mark(&token.key, client)),
                pair,
                life: wanted.life,
                message: wanted.message.clone(),
                device: wanted.device.clone(),
                detail: detail(&token, &wanted),
            };
            match self.store.issue(issue).await? {
                Ok(issued) => return Ok(Ok(Made { issued, text })),
                Err(IssueRefusal::Stale) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            match self.store.token(&token.serial)? {
                Some(newer) => (token, state) = newer,
                None => return Ok(Err(IssueRefusal::NotUsable)),
            }
        }
        Err(CoreError::Contended)
    }

    /// Makes a code and sends it to the token's address. Answers when the code is durable; the
    /// message leaves behind the answer.
    pub(crate) async fn send_code(
        &self,
        found: (&Token, &TokenState),
        language: Language,
        wanted: Wanted<'_>,
    ) -> Result<Result<Made, IssueRefusal>, CoreError> {
        let token = found.0;
        let (Some(medium), Some(address)) = (Medium::of(token.kind), &token.address) else {
            return Ok(Err(IssueRefusal::NotUsable));
        };
        let courier = self.courier();
        if let Err(error) = courier.check(medium, address) {
            let remedy = error.remedy();
            tracing::warn!(serial = %token.serial, %error, remedy, "no message can be sent");
            return Ok(Err(IssueRefusal::NotUsable));
        }
        let quotas = self.send_limits.load().quotas(&token.user, medium, address);
        let minutes = wanted.life.map_or(0, |life| life.as_secs().div_ceil(60));
        let (way, request) = (wanted.way, wanted.request);
        let wanted = Wanted {
            message: Some(quotas),
            ..wanted
        };
        let made = match self.make_code(found, wanted).await? {
            Ok(made) => made,
            Err(refusal) => {
                tracing::info!(serial = %token.serial, %refusal, "no code is sent");
                return Ok(Err(refusal));
            }
        };
        let (subject, text) = self.code_text(way, medium, language, &made.text, minutes);
        self.post(
            Message {
                id: request.to_bytes(),
                medium,
                to: address.clone(),
                subject,
                text,
                code: (way != Way::Inbound).then(|| made.text.clone()),
                language,
            },
            token.serial.to_string(),
            Some(token.user.to_string()),
        );
        Ok(Ok(made))
    }

    /// Sends the code that a device redeems to these addresses of its user, with the link that opens the authenticator
    /// of the browser, where there is one.
    pub(crate) fn post_enrolment(
        &self,
        token: &Token,
        made: &Made,
        user: &User,
        (recipients, link): (&[(Medium, String)], Option<&SecretString>),
        request: RequestId,
    ) {
        let minutes = made.issued.expires.since(self.clock.now()).as_secs();
        let (minutes, language) = (minutes.div_ceil(60), user.language);
        for (place, (medium, to)) in (1_u8..).zip(recipients) {
            let mut id = request.to_bytes();
            // Two messages, which no gateway is to take for one.
            id[15] = id[15].wrapping_add(place);
            let (subject, text) = match link {
                Some(link) => self.app_text(*medium, user, (link, &made.text), minutes),
                None => self.code_text(Way::Enrol, *medium, language, &made.text, minutes),
            };
            self.post(
                Message {
                    id,
                    medium: *medium,
                    to: to.clone(),
                    subject,
                    text,
                    code: Some(made.text.clone()),
                    language,
                },
                token.serial.to_string(),
                Some(token.user.to_string()),
            );
        }
    }

    /// The subject and the text of a message with a link that opens the authenticator of the browser.
    fn app_text(
        &self,
        medium: Medium,
        user: &User,
        (link, code): (&SecretString, &SecretString),
        minutes: u64,
    ) -> (Option<String>, SecretString) {
        let (minutes, code) = (minutes.to_string(), issued::grouped(code.expose(), 4));
        let name = user.display_name.as_deref();
        let values = [
            (Place::Link, link.expose()),
            (Place::Code, code.expose()),
            (Place::Minutes, &minutes),
            (Place::User, name.unwrap_or_else(|| user.key.name())),
        ];
        let (texts, text) = (self.texts(), Text::EnrolApp);
        (
            texts.subject(user.language, medium, text, &values),
            texts.message(user.language, medium, &[text], &values),
        )
    }

    /// The subject and the text of a message with a code that is good for so many minutes.
    pub(crate) fn code_text(
        &self,
        way: Way,
        medium: Medium,
        language: Language,
        code: &SecretString,
        minutes: u64,
    ) -> (Option<String>, SecretString) {
        let (text, code) = match way {
            Way::Inbound => (Text::KeyIn, code.clone()),
            Way::Enrol => (Text::EnrolmentCode, issued::grouped(code.expose(), 4)),
            _ => (Text::LoginCode, code.clone()),
        };
        let minutes = minutes.to_string();
        let values = [(Place::Code, code.expose()), (Place::Minutes, &minutes)];
        let texts = self.texts();
        (
            texts.subject(language, medium, text, &values),
            texts.message(language, medium, &[text], &values),
        )
    }

    /// Hands a message over in a task of its own; what became of it is in the audit.
    pub(crate) fn post(&self, message: Message, target: String, user: Option<String>) {
        let carried = self.carry(message, target, user);
        self.tasks.spawn(async move {
            // The audit has it.
            let _ = carried.await;
        });
    }

    /// Hands a message over; what became of it is in the audit too.
    pub(crate) fn carry(
        &self,
        message: Message,
        target: String,
        user: Option<String>,
    ) -> impl Future<Output = Result<Delivered, DeliveryError>> + Send + use<> {
        let courier = self.courier();
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let entropy = Arc::clone(&self.entropy);
        async move {
            let (medium, to) = (message.medium, mask(message.medium, &message.to));
            let carried = courier.deliver(message).await;
            let (action, detail) = match &carried {
                Ok(delivered) => (
                    "message_sent",
                    format!("{medium} to {to} by {}", delivered.gateway),
                ),
                Err(error) => {
                    tracing::error!(%target, %error, "a message was not delivered");
                    ("message_failed", format!("{medium} to {to}: {error}"))
                }
            };
            let at = clock.now();
            if let Ok(octets) = random(entropy.as_ref()) {
                let by = By::daemon((RequestId::new(at, octets), at));
                note(store.as_ref(), by, action, target, user, detail).await;
            }
            carried
        }
    }

    /// The digits by which the user who is told of a token freezes it.
    pub fn freeze_word(&self, target: &str) -> SecretString {
        let key = self.store.key(KeyPurpose::Challenge);
        let key = OtpKey::new(SecretBytes::from(key.expose().as_slice()))
            .expect("256 bits are enough for a key");
        let mark = Mark::of(&key, "freeze", None, target).to_bytes();
        let value = u128::from_be_bytes(mark) % 100_000_000;
        issued::digits(u64::try_from(value).unwrap_or_default(), FREEZE_DIGITS)
    }

    /// `length` random decimal digits.
    pub(crate) fn digits(&self, length: u8) -> Result<SecretString, CoreError> {
        let bound = 10_u64.pow(u32::from(length.min(18)));
        loop {
            if let Some(value) = issued::uniform(random(self.entropy.as_ref())?, bound) {
                return Ok(issued::digits(value, usize::from(length.min(18))));
            }
        }
    }

    /// `length` random Crockford characters.
    pub(crate) fn letters(&self, length: u8) -> Result<SecretString, CoreError> {
        let bits = u128::from_be_bytes(random(self.entropy.as_ref())?);
        Ok(issued::letters(bits, usize::from(length.min(25))))
    }
}

/// Digits of the word that freezes a token.
pub(crate) const FREEZE_DIGITS: usize = 8;

/// Writes into the audit what changed no record.
pub(crate) async fn note(
    store: &Store,
    by: By,
    action: &'static str,
    target: String,
    user: Option<String>,
    detail: String,
) {
    let change = Change::Note {
        action,
        target,
        user,
        detail,
    };
    if let Err(error) = store.change(change, by).await {
        tracing::error!(action, %error, "not noted in the audit");
    }
}

fn detail(token: &Token, wanted: &Wanted<'_>) -> String {
    let mut detail = wanted.way.as_str().to_owned();
    if let (Some(medium), Some(address)) = (Medium::of(token.kind), &token.address)
        && wanted.message.is_some()
    {
        detail.push_str(", ");
        detail.push_str(medium.as_str());
        detail.push_str(" to ");
        detail.push_str(&mask(medium, address));
    }
    if let Some(client) = wanted.client {
        detail.push_str(", for ");
        detail.push_str(client);
    }
    if let Some(uv) = wanted.uv {
        detail.push_str(", uv ");
        detail.push_str(uv);
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_for_user_address_prefix_and_all() {
        let user = UserKey::parse("alice").unwrap();
        let quotas = SendLimits::default().quotas(&user, Medium::Sms, "+821012345678");
        let scopes: Vec<_> = quotas.iter().map(|quota| quota.scope.as_str()).collect();
        assert_eq!(
            scopes,
            [
                "user alice@default",
                "address +821012345678",
                "all sms",
                "prefix +82101234"
            ]
        );
        let mail = SendLimits::default().quotas(&user, Medium::Email, "a@example.com");
        assert_eq!(mail.len(), 3);
    }
}
