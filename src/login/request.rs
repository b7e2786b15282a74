//! A login request, and what is answered to it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::login::Presented;
use crate::model::attempt::{Attempt, Evidence, Proven};
use crate::model::audit::{Channel, Origin, Purpose};
use crate::model::client::Client;
use crate::model::credential::Knowledge;
use crate::model::id::{RequestId, Serial};
use crate::model::method::is_taken;
use crate::model::reason::{Decision, Reason};
use crate::model::user_key::UserKey;
use crate::policy::{Factor, Policy};
use crate::secret::SecretString;
use crate::store::View;
use crate::time::UnixTime;

/// One question: is this the person, this once?
#[derive(Clone, Copy, Debug)]
pub struct LoginRequest<'a> {
    /// Names the request; made by [`crate::core::Core::arrival`].
    pub id: RequestId,
    /// When it arrived.
    pub at: UnixTime,
    /// After this the answer is not awaited any more.
    pub deadline: UnixTime,
    /// Who asks.
    pub client: &'a Client,
    /// Over which front end.
    pub channel: Channel,
    /// How the credential travelled, see [`crate::model::method`].
    pub method: &'a str,
    /// The user as it was sent.
    pub user: &'a str,
    /// What the user typed.
    pub presented: Presented<'a>,
    /// The only token that proves it; `None`: any of the user's.
    pub serial: Option<&'a Serial>,
    /// The challenge this answers: RADIUS `State`, HTTP challenge id.
    pub challenge: Option<&'a str>,
    /// Whether the asker can carry a challenge to the person and the answer back.
    pub rounds: bool,
    /// Where the person is, if the client said so.
    pub source: Option<IpAddr>,
    /// Request attributes by dictionary name, for policy rules and reply templates.
    pub attributes: &'a [(&'a str, &'a str)],
    /// Application context, for policy rules.
    pub context: &'a [(&'a str, &'a str)],
    /// What the client said of itself and of the person's line, for the audit.
    pub origin: Option<&'a Arc<Origin>>,
    /// What replies can carry; `None`: any length.
    pub carrier: Option<&'a dyn Carrier>,
}

impl LoginRequest<'_> {
    /// An attempt in the name of `user` that no rule decides: an answer that is given again, or what is presented for
    /// something else than a login.
    pub(crate) fn attempt(
        &self,
        (policy, at): (&Policy, UnixTime),
        user: String,
        (purpose, evidence): (Purpose, Evidence),
    ) -> Attempt {
        Attempt {
            deadline: self.deadline,
            user,
            client: self.client.name.as_str().into(),
            method: self.method.into(),
            source: self.source,
            origin: self.origin.cloned(),
            lockout: policy.lockout,
            ..Attempt::outside_login((self.id, at), self.channel, purpose, evidence)
        }
    }

    /// What the audit says of a credential that is not looked at.
    pub(crate) fn presented_by(&self) -> String {
        if let Presented::Response(Some(response)) = self.presented
            && let Some(why) = response.absent()
        {
            return why.to_owned();
        }
        match self.method {
            "none" => "the request has no credential: no User-Password".to_owned(),
            "mixed" => {
                "the request has credentials of two methods, which RFC 2865 s4.1 forbids".to_owned()
            }
            method if is_taken(method) => {
                let name = &self.client.name;
                format!(
                    "the credential came by {method}, which is not among the methods of client {name}"
                )
            }
            method => format!("the credential came by {method}"),
        }
    }
}

/// What the replies of a front end can carry: asked before anything is consumed for one.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// What becomes of an accept with these attributes, in this order.
    fn accept(&self, attributes: &[(String, String)]) -> Fit;
    /// Whether there is room for a challenge.
    fn challenge(&self) -> bool;
}

/// What becomes of the attributes of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fit {
    /// All of them are sent.
    Whole,
    /// Text for the person is left out: which, and why.
    Without(String),
    /// The reply cannot be sent: why.
    Not(String),
}

/// A decision, durable.
#[derive(Debug)]
pub struct LoginOutcome {
    /// What the user is answered.
    pub answer: LoginAnswer,
    /// Why: for logs and metrics, never for the person.
    pub reason: Reason,
    /// What the user knows and has just proven, when all that was asked for was right and nothing
    /// was waived.
    pub proven: Vec<Knowledge>,
    /// How long after arrival the answer may leave, so that all rejects look alike in time.
    pub delay: Duration,
}

/// What the user is answered.
#[derive(Debug)]
pub enum LoginAnswer {
    /// Let in.
    Accept(Accepted),
    /// Right so far: the next factor is asked for.
    Challenge(Challenged),
    /// Refused; the cause is in the audit only.
    Reject,
}

impl LoginAnswer {
    pub(crate) const fn decision(&self) -> Decision {
        match self {
            Self::Accept(_) => Decision::Accept,
            Self::Challenge(_) => Decision::Challenge,
            Self::Reject => Decision::Reject,
        }
    }
}

/// What goes with a challenge.
#[derive(Debug)]
pub struct Challenged {
    /// To be given back with the answer: at most 48 characters of base64url, and what an application asks
    /// with how it stands ([`crate::login::Login::followed`]).
    pub id: String,
    /// When it was made.
    pub(crate) made: UnixTime,
    /// What is asked for.
    pub factor: Factor,
    /// How to ask the person for it.
    pub prompt: Cow<'static, str>,
    /// How long an answer is awaited.
    pub expires_in: Duration,
}

/// What goes with an accept.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The login that consumed what was presented: this request, or the one whose answer is given again.
    pub login: RequestId,
    /// `policy:rule` that decided.
    pub rule: Arc<str>,
    /// Who.
    pub user: UserKey,
    /// With which token; none where the rule asks for no code.
    pub serial: Option<Serial>,
    /// The tokens whose codes were right in earlier rounds, with the revisions that their records have after the accept.
    pub(crate) held: Vec<Proven>,
    /// Strength of the factors, 1 to 3 (SP 800-63B levels).
    pub assurance: u8,
    /// What made the response, where one was presented: what goes back proves that we know it.
    pub typed: Option<SecretString>,
    /// Reply attributes by dictionary name, expanded.
    pub attributes: Vec<(String, String)>,
    /// What the decision rested on; `None` where it must not be given again.
    pub(crate) rests: Option<Rests>,
}

/// The records that an accept rested on: it is given again only where they are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rests {
    /// Stands for the text of the policy.
    policy: u64,
    /// Revision of the client's record.
    client: u64,
    /// When the user was made: a later one of the same name is another.
    since: UnixTime,
    /// Revision of the user's record.
    pub(crate) user: u64,
    /// Revision of PIN and password; 0 where the rule asks for none.
    pub(crate) credentials: u64,
    /// Revision of the token's record.
    pub(crate) token: u64,
    /// Whether an outage was declared for which the rule has something.
    outage: bool,
}

impl Rests {
    pub(crate) fn of(
        (client, policy): (&Client, &Policy),
        view: &View,
        (credentials, token, outage): (u64, u64, bool),
    ) -> Self {
        Self {
            policy: policy.text,
            client: client.revision,
            since: view.user.created,
            user: view.user.revision,
            credentials,
            token,
            outage,
        }
    }
}
