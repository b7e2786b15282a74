//! One conversation with an EAP peer: who it is, which method, how far it has come.

use std::sync::Arc;

use crate::core::Core;
use crate::login::LoginOutcome;
use crate::model::client::Client;
use crate::model::method::Allowed;
use crate::radius::eap::{Code, Message, kind};
use crate::server::radius::eap::cause::Cause;
use crate::server::radius::eap::method::{Around, Method, Next};
use crate::server::radius::eap::tunnel::{Tunnel, TunnelError};
use crate::server::radius::password::Shown;
use crate::server::tls::Tls;

/// What a conversation needs of its surroundings.
pub(super) struct Surroundings<'a> {
    /// The methods that the client is allowed.
    pub(super) allowed: &'a Allowed,
    /// What tunnels are made with; none: there are none.
    pub(super) tls: Option<Arc<Tls>>,
    /// Drawn at random, for each packet anew.
    pub(super) challenge: [u8; 16],
    /// Most octets of an EAP packet's data.
    pub(super) most: usize,
}

/// One conversation, from the peer's identity to its end.
pub(super) struct Conversation {
    /// User-Name of the first request: who logs in, unless a tunnel says otherwise.
    user: String,
    /// Identifier of the request that waits for its answer.
    identifier: u8,
    /// That request, for a NAS that asks again from another port.
    last: Option<(u8, Vec<u8>)>,
    /// What could not be decided yet, and the identifier of the response that led to it.
    pending: Option<(u8, Next)>,
    /// The name inside the tunnel, once it was said.
    pub(super) named: Option<String>,
    /// How the last credential came, as the audit calls it.
    pub(super) method: &'static str,
    /// Whether a refusal is on record.
    pub(super) refused: bool,
    /// Why it ends without a login, where that is known.
    pub(super) cause: Option<Cause>,
    may_choose: bool,
    stage: Stage,
}

enum Stage {
    /// Asked who it is.
    Identity,
    Method(Method),
    Tunnel(Box<Tunnel>),
}

impl Conversation {
    /// A conversation that begins with this user's name.
    pub(super) const fn new(user: String, identifier: u8) -> Self {
        Self {
            user,
            identifier,
            last: None,
            pending: None,
            named: None,
            method: NONE,
            refused: false,
            cause: None,
            may_choose: true,
            stage: Stage::Identity,
        }
    }

    /// Who logs in.
    pub(super) fn name(&self) -> &str {
        self.named.as_ref().unwrap_or(&self.user)
    }

    /// Why it ends without a login.
    pub(super) fn cause(&self) -> Cause {
        let inside = match &self.stage {
            Stage::Tunnel(tunnel) => tunnel.cause.as_ref(),
            Stage::Identity | Stage::Method(_) => None,
        };
        let known = self.cause.as_ref().or(inside);
        known.cloned().unwrap_or(Cause::ORDER)
    }

    /// The request that asks who the peer is.
    pub(super) const fn ask_identity() -> Next {
        Next::Send(kind::IDENTITY, Vec::new())
    }

    /// The packet of a request, remembered until it is answered. `None`: too long.
    pub(super) fn request(&mut self, kind: u8, data: Vec<u8>) -> Option<Vec<u8>> {
        let message = Message {
            code: Code::Request,
            identifier: self.identifier,
            kind,
            data: &data,
        };
        let octets = message.octets();
        self.last = Some((kind, data));
        octets
    }

    /// Whether a person is asked something, who needs time.
    pub(super) fn waits_for_person(&self) -> bool {
        match &self.stage {
            Stage::Method(Method::Gtc(_)) => true,
            Stage::Tunnel(tunnel) => tunnel.waits_for_person(),
            _ => false,
        }
    }

    /// Takes a response.
    pub(super) fn receive(
        &mut self,
        message: &Message<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Next, TunnelError> {
        if let Some((identifier, next)) = self.pending.take()
            && identifier == message.identifier
        {
            return Ok(next);
        }
        if message.identifier != self.identifier {
            // Of a request that was answered: the one that waits is sent again.
            let late = message.identifier == self.identifier.wrapping_sub(1);
            return Ok(match self.last.take().filter(|_| late) {
                Some((kind, data)) => Next::Send(kind, data),
                None => Next::Refuse,
            });
        }
        self.identifier = self.identifier.wrapping_add(1);
        match &mut self.stage {
            Stage::Identity if message.kind == kind::IDENTITY => {
                if self.user.is_empty() {
                    self.user = String::from_utf8_lossy(message.data).into_owned();
                }
                let first = offered(around).first().copied();
                self.cause = first.is_none().then_some(Cause::NOTHING_OFFERED);
                Ok(self.begin(first, around))
            }
            Stage::Identity => Ok(Next::Refuse),
            _ if message.kind == kind::NAK && self.may_choose => {
                self.may_choose = false;
                let offered = offered(around);
                let mut wanted = message.wanted().iter().copied();
                let common = wanted.find(|kind| offered.contains(kind));
                if common.is_none() {
                    self.cause = Some(Cause::no_method(message.wanted(), &offered, false));
                }
                Ok(self.begin(common, around))
            }
            Stage::Method(method) if method.kind() == message.kind => {
                self.may_choose = false;
                let (identifier, data) = (message.identifier, message.data);
                Ok(method.receive(Around::Nothing, identifier, data))
            }
            Stage::Tunnel(tunnel) if tunnel.kind() == message.kind => {
                self.may_choose = false;
                tunnel.receive(message.identifier, message.data, around.most)
            }
            _ => Ok(Next::Refuse),
        }
    }

    fn begin(&mut self, kind: Option<u8>, around: &Surroundings<'_>) -> Next {
        let Some(kind) = kind else {
            return Next::Refuse;
        };
        if let Some(method) = Method::of(kind, self.identifier, around.challenge) {
            let asks = method.asks();
            self.stage = Stage::Method(method);
            return asks;
        }
        let inner = match kind {
            kind::PEAP => Around::Peap,
            _ => Around::Ttls,
        };
        let tunnel = around.tls.clone().and_then(|config| {
            let offered = offered_inside(inner, around.allowed);
            Tunnel::new(inner, config.sessionless(), offered, around.challenge)
        });
        let Some(tunnel) = tunnel else {
            return Next::Refuse;
        };
        let start = tunnel.start();
        self.stage = Stage::Tunnel(Box::new(tunnel));
        start
    }

    /// Takes what was decided.
    pub(super) fn decided(
        &mut self,
        shown: &Shown,
        outcome: LoginOutcome,
        most: usize,
    ) -> Result<Next, TunnelError> {
        let identifier = self.identifier.wrapping_sub(1);
        match &mut self.stage {
            Stage::Identity => Ok(Next::Refuse),
            Stage::Method(method) => Ok(method.decided(shown, outcome)),
            Stage::Tunnel(tunnel) => tunnel.decided(shown, outcome, identifier, most),
        }
    }

    /// Keeps what could not be decided: the same response asks for it again.
    pub(super) fn postpone(&mut self, next: Next) {
        self.pending = Some((self.identifier.wrapping_sub(1), next));
    }

    /// Whether the name inside a tunnel may follow the one outside of it: that one is anonymous, or the
    /// same user's.
    pub(super) fn admits(&self, inner: &str, core: &Core, client: &Client) -> bool {
        let name = self.user.split('@').next().unwrap_or_default();
        let anonymous = name.is_empty() || name.to_ascii_lowercase().starts_with("anonymous");
        anonymous || core.key(client, &self.user).ok() == core.key(client, inner).ok()
    }
}

/// The method of what no credential came with.
pub(super) const NONE: &str = "eap";

/// Types of the methods that a client's peers are offered, in order.
fn offered(around: &Surroundings<'_>) -> Vec<u8> {
    const MD5: (u8, &str) = (kind::MD5, "eap-md5");
    const PLAIN: [(u8, &str); 2] = [(kind::MS_CHAP_2, "eap-mschapv2"), (kind::GTC, "eap-gtc")];
    let all = if around.tls.is_some() {
        let tunnels = [(kind::TTLS, "eap-ttls"), (kind::PEAP, "eap-peap")];
        [&tunnels[..], &PLAIN, &[MD5]].concat()
    } else {
        // None of them hides a code from an eavesdropper: the one comes first that peers speak which
        // cannot ask for another.
        [&[MD5][..], &PLAIN].concat()
    };
    let offered = all.into_iter();
    let offered = offered.filter(|(_, word)| around.allowed.takes_some_of(word));
    offered.map(|(kind, _)| kind).collect()
}

/// Types of the methods that are offered inside a tunnel: text that the person types first, since it
/// carries every factor.
fn offered_inside(around: Around, allowed: &Allowed) -> Vec<u8> {
    let (gtc, ms_chap) = match around {
        Around::Peap => ("eap-peap-gtc", "eap-peap-mschapv2"),
        _ => ("eap-ttls-gtc", "eap-ttls-mschapv2"),
    };
    let all = [(kind::GTC, gtc), (kind::MS_CHAP_2, ms_chap)];
    let offered = all.into_iter().filter(|(_, word)| allowed.takes(word));
    offered.map(|(kind, _)| kind).collect()
}
