//! Asking the person for the next factor: what is sent, what is drawn, in which words; and asking
//! somebody who is nobody, so that nothing can be learned from being asked.

use std::borrow::Cow;

use crate::model::issue::Way;
use crate::model::token::LifeCycle;
use crate::model::token::Token;
use crate::model::token::TokenState;
use crate::otp::card;
use crate::otp::card::Pair;
use crate::otp::issued::Mark;
use crate::policy::Factor;
use crate::policy::Policy;
use crate::policy::Rule;
use crate::policy::kinds_of;
use crate::secret::OtpKey;
use crate::secret::SecretBytes;
use crate::secret::SecretString;
use crate::secret::random;
use crate::service::Challenged;
use crate::service::Request;
use crate::service::Service;
use crate::service::ServiceError;
use crate::service::challenge;
use crate::service::challenge::Binding;
use crate::service::challenge::Inside;
use crate::service::evaluate::Case;
use crate::service::evaluate::Evaluation;
use crate::service::issue::Form;
use crate::service::issue::Wanted;
use crate::service::round::Presented;
use crate::store::View;

impl Service {
    /// Seals what was right, for the next round; sends or draws what the person is asked for in it.
    pub(super) async fn challenge(
        &self,
        request: &Request<'_>,
        policy: &Policy,
        evaluation: &Evaluation<'_>,
    ) -> Result<Challenged, ServiceError> {
        let at = self.window_time(request.at)?;
        let case = Case {
            request,
            policy,
            rule: evaluation.rule,
            at,
            least: evaluation.least,
        };
        let expires_in = policy.challenge.life;
        let nonce = random(self.entropy.as_ref())?;
        let standing = (evaluation.passed, evaluation.stage);
        let (view, credentials) = (&evaluation.view, &evaluation.credentials);
        let id = case.sealed(&self.challenge_key, view, credentials, standing, nonce);
        let factor = evaluation.next.unwrap_or(Factor::Otp);
        let (factor, prompt) = match evaluation.send {
            None => (factor, prompt(factor).into()),
            Some(send) => (send, self.ask_for(case, &evaluation.view, send).await?),
        };
        Ok(Challenged {
            // It fails after the year 2106 only.
            id: id.ok_or(ServiceError::Contended)?,
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
    ) -> Result<Cow<'static, str>, ServiceError> {
        let kinds = kinds_of(send, &case.policy.otp);
        let fits = |(token, _): &&(Token, TokenState)| {
            kinds.contains(&token.kind) && token.state_at(case.at) == LifeCycle::Active
        };
        let tokens = view.tokens.iter().filter(fits);
        // The one that worked last: an old number may still be on record.
        let Some(found) = tokens.max_by_key(|(_, state)| state.last_accept) else {
            return Ok(prompt(send).into());
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
            let drawn = self.make_code(found, wanted).await?.ok();
            let pair = drawn.and_then(|made| made.issued.pair);
            return Ok(pair.map_or_else(|| prompt(send).into(), |pair| cells(pair).into()));
        }
        // Why nothing is sent is in the log; the person is asked all the same.
        let _ = self.send_code(found, view.user.language, wanted).await?;
        Ok(prompt(send).into())
    }

    /// A challenge to somebody who cannot answer it: whoever asks for a code in the name of a user who
    /// is none hears the same as with one who is.
    pub(super) fn decoy(
        &self,
        request: &Request<'_>,
        policy: &Policy,
        factor: Factor,
    ) -> Result<Challenged, ServiceError> {
        let at = self.window_time(request.at)?;
        let expires_in = policy.challenge.life;
        let nobody = Binding {
            client: "",
            user: "",
            policy: "",
            text: 0,
            since: at,
            credentials: 0,
        };
        let nonce = random(self.entropy.as_ref())?;
        let inside = Inside {
            issued: at,
            ..Inside::default()
        };
        let id = challenge::seal(&self.challenge_key, nobody, inside, nonce);
        let prompt = match factor {
            Factor::Card => cells(self.pretended(request.user)).into(),
            _ => prompt(factor).into(),
        };
        Ok(Challenged {
            id: id.ok_or(ServiceError::Contended)?,
            factor,
            prompt,
            expires_in,
        })
    }

    /// The cells that are asked for of somebody who has no card: the same each time, as of one who has.
    fn pretended(&self, user: &str) -> Pair {
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

/// What somebody asks to be sent who has to prove nothing before.
pub(super) fn asked_for(request: &Request<'_>, rule: &Rule) -> Option<Factor> {
    let word = match request.presented {
        Presented::Passcode(text) => text.expose(),
        Presented::Fields { otp, .. } => otp.map(SecretString::expose).unwrap_or_default(),
    };
    let factor = Factor::of_keyword(word).filter(|_| request.rounds)?;
    let first = rule.require.first().copied()?;
    let mut accepted = rule.accepts(first, false);
    (!first.is_knowledge() && accepted.any(|one| one == factor)).then_some(factor)
}

/// How the person is asked for two cells of the card. The number that begins the answer is not said: who
/// does not have the card does not know it.
pub(super) fn cells(pair: Pair) -> String {
    format!(
        "Type the last 3 digits of your card's number, the first 2 of cell {}, the last 2 of cell {}",
        pair.first, pair.second
    )
}

/// How the person is asked for a factor.
pub(super) const fn prompt(factor: Factor) -> &'static str {
    match factor {
        Factor::Password => "Enter your password",
        Factor::Pin => "Enter your PIN",
        Factor::Sms => "Enter the code sent to your telephone",
        Factor::Email => "Enter the code sent by e-mail",
        Factor::Voice => "Enter the code that you hear on the telephone",
        Factor::Card => "Enter the cells of your security card",
        Factor::Recovery => "Enter a recovery code",
        _ => "Enter the code of your token",
    }
}
