//! Asking the person for the next factor: what is sent, what is drawn, in which words; and asking
//! someone who is no one, so that nothing can be learned from being asked.

use std::borrow::Cow;

use crate::core::CoreError;
use crate::core::issue::{Form, Wanted};
use crate::login::Login;
use crate::login::Presented;
use crate::login::assess::Progress;
use crate::login::case::Case;
use crate::login::challenge::{Binding, Inside, Reached};
use crate::login::{Challenged, LoginRequest, challenge};
use crate::model::issue::{Way, next_number};
use crate::model::kind::Kind;
use crate::model::message::Language;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::notice::{Place, Text};
use crate::otp::card;
use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::policy::{Factor, Policy, Rule, kinds_of};
use crate::secret::{OtpKey, SecretBytes, SecretString, random};
use crate::store::View;

impl Login {
    /// Seals what was right, for the next round; sends or draws what the person is asked for in it.
    pub(crate) async fn challenge(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        progress: &Progress<'_>,
    ) -> Result<Challenged, CoreError> {
        let at = self.core.window_time(request.at)?;
        let case = Case {
            request,
            policy,
            rule: progress.rule,
            at,
            least: progress.least,
        };
        let expires_in = policy.challenge.life;
        let nonce = random(self.core.entropy.as_ref())?;
        let reached = Reached {
            passed: progress.passed,
            adds: progress.adds,
            held: &progress.held,
            stage: progress.stage,
        };
        let (view, credentials) = (&progress.view, &progress.credentials);
        let id = case.sealed(&self.challenge_key, view, credentials, reached, nonce);
        let factor = progress.next.unwrap_or(Factor::Otp);
        // Before anything was right everybody is asked alike: the language would tell who exists.
        let language = if progress.passed.is_empty() {
            self.core.language()
        } else {
            progress.view.user.language
        };
        let (factor, prompt) = match progress.send {
            None => (factor, self.prompt(language, prompt(factor)).into()),
            Some(send) => {
                let asked = self.ask_for(case, &progress.view, send, language);
                (send, asked.await?)
            }
        };
        Ok(Challenged {
            // It fails after the year 2106 only.
            id: id.ok_or(CoreError::Contended)?,
            made: at,
            factor,
            prompt,
            expires_in,
        })
    }

    /// Sends the code of a factor, or draws the card's cells; how the person is asked for it. What
    /// is not sent, because too many were, is asked for all the same: the one before may be good.
    async fn ask_for(
        &self,
        case: Case<'_, '_>,
        view: &View,
        send: Factor,
        language: Language,
    ) -> Result<Cow<'static, str>, CoreError> {
        let kinds = kinds_of(send, &case.policy.otp);
        let fits = |(token, _): &&(Token, TokenState)| {
            kinds.contains(&token.kind) && token.state_at(case.at) == LifeCycle::Active
        };
        let tokens = view.tokens.iter().filter(fits);
        // The one that worked last: an old number may still be on record.
        let asked = || self.prompt(language, prompt(send));
        let Some(found) = tokens.max_by_key(|(_, state)| state.last_accept) else {
            return Ok(asked().into());
        };
        let wanted = Wanted {
            request: case.request.id,
            at: case.at,
            actor: format!("{} {}", case.request.channel, case.request.client.name),
            form: match send {
                Factor::Card => Form::Cells,
                _ => Form::of(found.0.digits),
            },
            way: Way::Code,
            client: Some(&case.request.client.name),
            life: (send != Factor::Card).then_some(case.policy.codes.life),
            message: None,
            device: None,
            uv: None,
        };
        let found = (&found.0, &found.1);
        if send == Factor::Card {
            let drawn = self.core.make_code(found, wanted).await?.ok();
            let pair = drawn.and_then(|made| made.issued.pair);
            let pair = pair.unwrap_or_else(|| shown(found.0, found.1));
            return Ok(self.cells(language, pair).into());
        }
        // Why nothing is sent is in the log; the person is asked all the same.
        let _ = self
            .core
            .send_code(found, view.user.language, wanted)
            .await?;
        Ok(asked().into())
    }

    /// A challenge to someone who cannot answer it: anyone who asks for a code in the name of a user who
    /// is none receives the same as with one who is.
    pub(crate) fn decoy(
        &self,
        request: &LoginRequest<'_>,
        policy: &Policy,
        factor: Factor,
    ) -> Result<Challenged, CoreError> {
        let at = self.core.window_time(request.at)?;
        let expires_in = policy.challenge.life;
        let no_user = Binding {
            client: "",
            user: "",
            policy: "",
            text: 0,
            since: at,
            credentials: 0,
            held: &[],
        };
        let nonce = random(self.core.entropy.as_ref())?;
        let inside = Inside {
            issued: at,
            ..Inside::default()
        };
        let id = challenge::seal(&self.challenge_key, no_user, inside, nonce);
        let prompt = match factor {
            Factor::Card => {
                let pair = self.pretended(request)?;
                self.cells(self.core.language(), pair)
            }
            _ => self.prompt(self.core.language(), prompt(factor)),
        };
        Ok(Challenged {
            id: id.ok_or(CoreError::Contended)?,
            made: at,
            factor,
            prompt: prompt.into(),
            expires_in,
        })
    }

    /// How a person is asked for something.
    pub(crate) fn prompt(&self, language: Language, text: Text) -> String {
        self.core.texts().prompt(language, text, &[])
    }

    /// How a person is asked for two cells of the card: in as many octets for every pair.
    pub(crate) fn cells(&self, language: Language, pair: Pair) -> String {
        let (first, second) = (format!("{:02}", pair.first), format!("{:02}", pair.second));
        let values = [
            (Place::First, first.as_str()),
            (Place::Second, second.as_str()),
        ];
        self.core.texts().prompt(language, Text::AskCells, &values)
    }

    /// The cells of a decoy. A user with a card is asked for those that a real round asks for: a change of
    /// cells when the card or its owner is locked would tell that there is a card. Any other name is asked
    /// for the same cells each time, however it is spelled: two spellings of a user with a card are. An alias is
    /// another name, or the cells would tell whose it is.
    fn pretended(&self, request: &LoginRequest<'_>) -> Result<Pair, CoreError> {
        let view = match self.core.whose(request.client, request.user)? {
            Some(key) => self.core.store.view(&key)?,
            None => None,
        };
        let cards = view.iter().flat_map(|view| &view.tokens);
        let cards = cards.filter(|(token, _)| token.kind == Kind::Card);
        let active = |token: &Token| token.state_at(request.at) == LifeCycle::Active;
        let last = cards.max_by_key(|(token, state)| (active(token), state.last_accept));
        Ok(match last {
            Some((token, state)) => shown(token, state),
            None => self.of_no_card(&self.core.called(request.client, request.user)),
        })
    }

    fn of_no_card(&self, user: &str) -> Pair {
        let key = OtpKey::new(SecretBytes::from(self.challenge_key.expose().as_slice()))
            .expect("256 bits are enough for a key");
        let [one, two, ..] = Mark::of(&key, "no card", None, user).to_bytes();
        let first = one % card::CELLS;
        let second = (first + 1 + two % (card::CELLS - 1)) % card::CELLS;
        Pair {
            first: first + 1,
            second: second + 1,
        }
    }
}

/// The cells of a card that wait for their answer, or would be drawn next.
fn shown(token: &Token, state: &TokenState) -> Pair {
    let drawn = state
        .issued
        .filter(|drawn| drawn.is_unused(state.moving.last));
    let pair = drawn.and_then(|drawn| drawn.pair);
    pair.unwrap_or_else(|| card::pair(&token.key, next_number(state)))
}

/// What someone asks to be sent who has to prove nothing before.
pub(crate) fn asked_for(request: &LoginRequest<'_>, rule: &Rule) -> Option<Factor> {
    let word = match request.presented {
        Presented::Passcode(text) => text.expose(),
        Presented::Fields { otp, .. } => otp.map(SecretString::expose).unwrap_or_default(),
        Presented::Response(_) => return None,
    };
    let factor = Factor::of_keyword(word).filter(|_| request.rounds)?;
    let first = rule.require.first().copied()?;
    let mut accepted = rule.accepts(first, false);
    (!first.is_knowledge() && accepted.any(|one| one == factor)).then_some(factor)
}

/// The text that asks for a factor.
pub(crate) const fn prompt(factor: Factor) -> Text {
    match factor {
        Factor::Password => Text::AskPassword,
        Factor::Pin => Text::AskPin,
        Factor::Sms => Text::AskSms,
        Factor::Email => Text::AskEmail,
        Factor::Voice => Text::AskVoice,
        Factor::Card => Text::AskCard,
        Factor::Recovery => Text::AskRecovery,
        _ => Text::AskOtp,
    }
}
