//! Handing a token out, and proving it by its first right code.
//!
//! ```text
//! approved, pending --offer--> pending    server: a code for the device, shown, drawn or sent
//!                                         sms, email, voice: a code to the address
//!                                         card: two cells are asked for; totp, hotp: the key
//! pending --confirm--> active
//! ```
//!
//! Invariants: a new code voids the one before; all ways carry the same code; paper is printed once,
//! when it is handed out. Every confirmation goes through the transition of a login, with its limits.

use std::time::Duration;

use crate::admin::Admin;
use crate::admin::enrolment::needs_proof;
use crate::admin::{AdminError, Goal, Handed, check_state, check_synchronised, invalid};
use crate::core::issue::{Form, Made, Wanted};
use crate::login::match_issued::compare_issued;
use crate::login::match_otp;
use crate::model::attempt::Comparison;
use crate::model::audit::Purpose;
use crate::model::id::Serial;
use crate::model::issue::{Quota, Way};
use crate::model::kind::Kind;
use crate::model::message::{Medium, mask};
use crate::model::reason::Reason;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::{Touched, User};
use crate::otp::Code;
use crate::otp::card::Pair;
use crate::policy::{Codes, OtpWindows};
use crate::secret::SecretString;
use crate::store::By;
use crate::time::UnixTime;

/// Where the authenticator of the browser is, and how a link to it is written: the server, the user, the code.
pub type AppLink<'a> = (&'a str, fn(&str, &str, &SecretString) -> SecretString);

/// A token that was handed out.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The token, and what is printed of it.
    pub handed: Handed,
    /// What a device redeems.
    pub code: Option<SecretString>,
    /// Until when its code is good.
    pub until: Option<UnixTime>,
    /// Where a message with a code goes, as it may be shown.
    pub sent: Vec<(Medium, String)>,
    /// The cells of the card that are asked for.
    pub asked: Option<Pair>,
    /// Whether it is handed out for the first time: its key is shown then, and never again.
    pub first: bool,
}

impl From<Handed> for Offered {
    /// With nothing issued.
    fn from(handed: Handed) -> Self {
        Self {
            handed,
            code: None,
            until: None,
            sent: Vec::new(),
            asked: None,
            first: true,
        }
    }
}

impl Admin {
    /// Hands a token out. `media` says how a code for a device is sent beside being shown; where `app` says how,
    /// the message has a link that opens the authenticator of the browser with it.
    pub async fn offer_token(
        &self,
        serial: &Serial,
        media: &[Medium],
        app: Option<AppLink<'_>>,
        expected: Option<u64>,
        by: By,
    ) -> Result<Offered, AdminError> {
        let (token, _) = self.token(serial)?;
        if expected.is_some_and(|seen| seen != token.revision) {
            return Err(AdminError::Conflict(
                "the record was changed by someone else",
            ));
        }
        if !media.is_empty() && token.kind != Kind::Server {
            return invalid(
                "by",
                "only the code of a server token is sent; others go to their own address",
            );
        }
        let user = self.user(&token.user)?;
        // Before anything changes: no one is promised a message that will never leave.
        let own = Medium::of(token.kind).zip(token.address.clone());
        let recipients = self.recipients(own, &user, media)?;
        self.claim_now(user.clone(), &[Touched::Token], &by).await?;
        let first = self.made_pending(&token, by.clone()).await?;
        let (token, state) = self.token(serial)?;
        let mut offered = Offered::from(if first {
            Handed::printed(token.clone(), &state)
        } else {
            Handed::unprinted(token.clone(), &state)
        });
        offered.first = first;
        if token.state == LifeCycle::Pending {
            self.issued(&mut offered, &user, (&recipients, app), by)
                .await?;
        }
        Ok(offered)
    }

    /// Proves a pending token by its first right code, which is thereby used up.
    pub async fn confirm_token(
        &self,
        serial: &Serial,
        code: &Code,
        by: By,
    ) -> Result<Token, AdminError> {
        self.prove_token(serial, &code.expose(), by).await
    }

    /// The same by whatever its kind makes: a code, the answer to the cells of a card, a recovery
    /// code.
    pub async fn prove_token(
        &self,
        serial: &Serial,
        typed: &SecretString,
        by: By,
    ) -> Result<Token, AdminError> {
        let (token, state) = self.token(serial)?;
        check_synchronised(&token, &state)?;
        check_state(&token, by.at, |state| state == LifeCycle::Pending, PENDING)?;
        self.claim_token(&token.user, &by).await?;
        let (token, _) = self
            .present(serial, Purpose::Confirm, by, |token, state, at| {
                check_state(token, at, |state| state == LifeCycle::Pending, PENDING)?;
                compared(token, state, typed, at)
            })
            .await?;
        let (token, _) = self.token(&token.serial)?;
        Ok(token)
    }

    /// The same by its owner, of whom every answer is a decision, and on record.
    pub(super) async fn prove_own(
        &self,
        serial: &Serial,
        typed: &SecretString,
        by: By,
    ) -> Result<Token, AdminError> {
        match self.prove_token(serial, typed, by.clone()).await {
            Err(AdminError::Invalid { .. }) => {
                let (token, _) = self.token(serial)?;
                let why = (Purpose::Confirm, Reason::MalformedCode);
                Err(self.refuse_code((&token.user, serial), why, &by).await?)
            }
            done => done,
        }
    }

    /// Whether it was handed out by this; what needs no proof is in use then.
    async fn made_pending(&self, token: &Token, by: By) -> Result<bool, AdminError> {
        let mut token = token.clone();
        match token.state_at(by.at) {
            LifeCycle::Pending if token.device.is_some() => {
                return Err(AdminError::Conflict(
                    "a device has redeemed its code; only its first right code is missing",
                ));
            }
            LifeCycle::Pending if token.kind == Kind::Recovery => {
                return Err(AdminError::Conflict(
                    "its codes were printed when it was handed out; make others",
                ));
            }
            LifeCycle::Pending => {
                if token.kind.is_keyed() {
                    // The time for its first code begins anew.
                    self.moved(&token, LifeCycle::Pending, None, by).await?;
                }
                return Ok(false);
            }
            LifeCycle::Requested if token.enrolment.needed == 0 => {
                token = self
                    .moved(&token, LifeCycle::Approved, None, by.clone())
                    .await?;
            }
            LifeCycle::Approved => {}
            LifeCycle::Requested => {
                return Err(AdminError::Conflict("others must approve it first"));
            }
            _ => {
                return Err(AdminError::Conflict(
                    "only a token that is not in use yet is handed out",
                ));
            }
        }
        let pending = self
            .moved(&token, LifeCycle::Pending, None, by.clone())
            .await?;
        if !needs_proof(token.kind, token.enrolment.verify) {
            self.moved(&pending, LifeCycle::Active, None, by).await?;
        }
        Ok(true)
    }

    async fn issued(
        &self,
        offered: &mut Offered,
        user: &User,
        (recipients, app): (&[(Medium, String)], Option<AppLink<'_>>),
        by: By,
    ) -> Result<(), AdminError> {
        let (token, state) = (&offered.handed.token, &offered.handed.state);
        let found = (token, state);
        let wanted = |form, way, life| Wanted {
            request: by.request,
            at: by.at,
            actor: by.actor.clone(),
            form,
            way,
            client: None,
            life,
            message: None,
            device: None,
            uv: None,
        };
        match token.kind {
            Kind::Server => {
                let form = Form::Letters(ENROL_LENGTH);
                let mut wanted = wanted(form, Way::Enrol, Some(ENROL_LIFE));
                wanted.message = self.quotas(token, recipients);
                let made = taken(self.core.make_code(found, wanted).await?)?;
                let link = app.map(|(server, write)| {
                    let user = token.user.to_string();
                    write(server, &user, &made.text)
                });
                let to = (recipients, link.as_ref());
                self.core.post_enrolment(token, &made, user, to, by.request);
                offered.until = Some(made.issued.expires);
                offered.code = Some(made.text);
            }
            Kind::Sms | Kind::Email | Kind::Voice => {
                let form = Form::of(token.digits);
                let wanted = wanted(form, Way::Code, Some(self.codes().life));
                let made = self.core.send_code(found, user.language, wanted).await?;
                offered.until = Some(taken(made)?.issued.expires);
            }
            Kind::Card => {
                let wanted = wanted(Form::Cells, Way::Code, None);
                let made = taken(self.core.make_code(found, wanted).await?)?;
                offered.asked = made.issued.pair;
            }
            _ => {}
        }
        let masked = recipients.iter();
        offered.sent = masked
            .map(|(medium, to)| (*medium, mask(*medium, to)))
            .collect();
        Ok(())
    }

    /// Where messages go when a token is handed out: to its own address, and to those of its user; refused
    /// when one could not leave.
    pub(super) fn recipients(
        &self,
        own: Option<(Medium, String)>,
        user: &User,
        media: &[Medium],
    ) -> Result<Vec<(Medium, String)>, AdminError> {
        let mut recipients: Vec<_> = own.into_iter().collect();
        for medium in media {
            let (own, option) = match medium {
                Medium::Email => (&user.email, "--email"),
                Medium::Sms | Medium::Voice => (&user.phone, "--phone"),
            };
            let Some(text) = own else {
                let message = format!("the user has no address for {medium}: oncegate user set");
                return invalid("by", format!("{message} {} {option}", user.key));
            };
            recipients.push((*medium, self.normal("by", *medium, text)?));
        }
        let courier = self.core.courier();
        for (medium, address) in &recipients {
            let checked = courier.check(*medium, address);
            checked.map_err(AdminError::Undeliverable)?;
        }
        Ok(recipients)
    }

    /// What counts these messages; none when there is none.
    fn quotas(&self, token: &Token, recipients: &[(Medium, String)]) -> Option<Vec<Quota>> {
        let limits = self.core.send_limits.load();
        let mut quotas: Vec<Quota> = Vec::new();
        for (medium, address) in recipients {
            for quota in limits.quotas(&token.user, *medium, address) {
                if !quotas.iter().any(|one| one.scope == quota.scope) {
                    quotas.push(quota);
                }
            }
        }
        (!quotas.is_empty()).then_some(quotas)
    }

    /// How codes are made outside a login, where no client's policy applies.
    fn codes(&self) -> Codes {
        let policies = self.core.policies();
        let policy = policies.resolve(None);
        policy.map(|policy| policy.codes).unwrap_or_default()
    }
}

fn taken(made: Result<Made, crate::model::issue::IssueRefusal>) -> Result<Made, AdminError> {
    made.map_err(AdminError::NotIssued)
}

/// Compares what was typed with what the token makes.
fn compared(
    token: &Token,
    state: &TokenState,
    typed: &SecretString,
    at: UnixTime,
) -> Result<Comparison, AdminError> {
    let tidy = typed.without_blanks();
    let typed = tidy.as_ref().unwrap_or(typed);
    if token.kind == Kind::Yubikey {
        return Ok(match_otp::compare_yubikey(token, state, typed.expose()));
    }
    if !token.kind.is_keyed() {
        return Ok(compare_issued(token, state, None, typed.expose()));
    }
    let Ok(code) = Code::parse(typed.expose()) else {
        return invalid("otp", "a code has 6 to 9 ASCII digits");
    };
    let windows = OtpWindows::default();
    Ok(match_otp::compare_token(token, state, &windows, &code, at))
}

const PENDING: (Goal, &str) = (Goal::Use, "only a pending one is confirmed");
/// Contract s7: twelve Crockford characters, ten minutes.
const ENROL_LENGTH: u8 = 12;
const ENROL_LIFE: Duration = Duration::from_mins(10);
