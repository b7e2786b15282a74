//! A token that was handed out: by which ways, and what is shown of it only then.

use crate::admin::Offered;
use crate::api;
use crate::api::forms;
use crate::model::kind::Kind;
use crate::model::message::Medium;
use crate::model::token::{LifeCycle, Token};
use crate::model::user_key::UserKey;
use crate::otp::issued::grouped;
use crate::otpauth::enrol::{app_link, enrol_uri};
use crate::otpauth::{Label, MovingFactor, OtpAuth};
use crate::secret::SecretString;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::read::word;
use crate::time::UnixTime;

/// How a code reaches its user.
pub(crate) struct Ways {
    text: bool,
    /// As a QR code, which names this server.
    pub(crate) qr: bool,
    /// Messages beside what is shown.
    pub(crate) media: Vec<Medium>,
}

impl Ways {
    pub(crate) fn read(words: &[String]) -> Result<Self, Failure> {
        let mut ways = Self {
            text: words.is_empty(),
            qr: words.is_empty(),
            media: Vec::new(),
        };
        for text in words {
            match text.as_str() {
                "text" => ways.text = true,
                "qr" => ways.qr = true,
                other => {
                    let medium: Medium = word("by", other, "text, qr, sms, email")?;
                    if medium == Medium::Voice {
                        return Err(Failure::malformed("by: one of text, qr, sms, email"));
                    }
                    if !ways.media.contains(&medium) {
                        ways.media.push(medium);
                    }
                }
            }
        }
        Ok(ways)
    }
}

/// What is shown of a token that was handed out.
pub(crate) fn offered(
    app: &App,
    offered: &Offered,
    ways: &Ways,
    url: Option<&str>,
) -> api::Offered {
    let (token, state) = (&offered.handed.token, &offered.handed.state);
    let code = offered.code.as_ref();
    let shown = |text: &SecretString| text.expose().to_owned();
    let keyed = matches!(token.kind, Kind::Totp | Kind::Hotp);
    let next = state.moving.next();
    api::Offered {
        token: forms::token(token, state, app.core().now()),
        code: code
            .filter(|_| ways.text)
            .map(|code| shown(&grouped(code.expose(), 4))),
        enrol_uri: code
            .filter(|_| ways.qr)
            .zip(url)
            .map(|(code, url)| shown(&camera_uri(app, url, &token.user, code))),
        otpauth_uri: (keyed && offered.first && token.state != LifeCycle::Requested)
            .then(|| shown(&otpauth_uri(app, token, Some(next)))),
        until: offered.until.map(UnixTime::rfc3339),
        sent: offered
            .sent
            .iter()
            .map(|(medium, to)| api::Recipient {
                medium: medium.to_string(),
                to: to.clone(),
            })
            .collect(),
        cells: offered.handed.cells.iter().map(shown).collect(),
        codes: offered.handed.codes.iter().map(shown).collect(),
        asked: offered.asked.map(|pair| api::Cells {
            first: pair.first,
            second: pair.second,
        }),
    }
}

/// What a device's camera reads: where to redeem which code, and for whom. At this server's own address the
/// authenticator of the browser.
pub(crate) fn camera_uri(
    app: &App,
    server: &str,
    user: &UserKey,
    code: &SecretString,
) -> SecretString {
    let user = user.to_string();
    if app.info().app_url.as_deref() == Some(server) {
        app_link(server, &user, code)
    } else {
        enrol_uri(server, &user, code)
    }
}

/// For authenticator apps; `counter` is the next one of a counter-based token.
pub(crate) fn otpauth_uri(app: &App, token: &Token, counter: Option<u64>) -> SecretString {
    let moving_factor = if token.kind == Kind::Hotp {
        MovingFactor::Counter(counter.unwrap_or(0))
    } else {
        MovingFactor::Time(token.period)
    };
    let uri = OtpAuth {
        label: label(app, token),
        key: token.key.clone(),
        algorithm: token.algorithm,
        digits: token.digits,
        moving_factor,
    };
    uri.to_uri()
}

/// What authenticator apps show above the code, by the policy that the token was made by.
pub(crate) fn label(app: &App, token: &Token) -> Label {
    let policies = app.core().policies();
    let named = token.enrolment.policy.as_deref();
    let policy = policies.resolve(named).or_else(|| policies.resolve(None));
    let user = app.admin().user(&token.user).ok();
    let name = user.and_then(|user| user.display_name);
    let naming = policy.map(|policy| policy.enrolment.naming.clone());
    let naming = naming.unwrap_or_default();
    let issuer = naming.issuer(&token.user, name.as_deref());
    Label::new(Some(&issuer), &naming.account(&token.user, name.as_deref()))
}
