//! One EAP method that carries a code: what is sent to the peer, and what its answers mean.

use zeroize::Zeroizing;

use crate::login::{Accepted, Challenged, LoginAnswer, LoginOutcome};
use crate::radius::eap::{self, kind, mschap};
use crate::radius::microsoft;
use crate::radius::mschap::{MppeKeys, Response};
use crate::secret::SecretString;
use crate::server::radius::password::Shown;

/// What happens next.
pub(super) enum Next {
    /// This goes to the peer: a method, and what it says.
    Send(u8, Vec<u8>),
    /// This is to be decided.
    Decide(Question),
    /// The peer is let in.
    Accept(Box<Granted>),
    /// The peer is refused.
    Refuse,
}

/// A credential to be compared.
pub(super) struct Question {
    /// What the method shows of what was typed.
    pub(super) shown: Shown,
    /// What the audit calls it.
    pub(super) method: &'static str,
    /// The user whom the peer named inside a tunnel.
    pub(super) user: Option<String>,
    /// The challenge of the login that this answers.
    pub(super) challenge: Option<String>,
    /// Whether the person can be asked again.
    pub(super) rounds: bool,
}

/// What was granted, until the peer has heard of it.
pub(super) struct Granted {
    pub(super) accepted: Accepted,
    /// From which the NAS's keys are made.
    pub(super) master: Option<Zeroizing<[u8; 64]>>,
}

/// Inside which tunnel a method runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Around {
    Nothing,
    Ttls,
    Peap,
}

/// A method that was begun.
pub(super) enum Method {
    /// A prompt and a free answer. With the challenge of the login that it continues.
    Gtc(Option<Challenged>),
    Md5 {
        challenge: [u8; 16],
    },
    MsChap2 {
        /// MS-CHAPv2-ID: the Identifier of the request that has the challenge, which some peers take for granted.
        ident: u8,
        challenge: [u8; 16],
        stage: Stage,
    },
}

/// How far EAP-MSCHAPv2 has come. A success is believed only after a response that was right
/// (CVE-2006-1354).
pub(super) enum Stage {
    Asked,
    Proven(Box<Granted>),
    Failed,
}

impl Method {
    /// The method of a type, begun with the request of this Identifier, with octets drawn at random.
    pub(super) const fn of(kind: u8, ident: u8, challenge: [u8; 16]) -> Option<Self> {
        match kind {
            kind::GTC => Some(Self::Gtc(None)),
            kind::MD5 => Some(Self::Md5 { challenge }),
            kind::MS_CHAP_2 => Some(Self::MsChap2 {
                ident,
                challenge,
                stage: Stage::Asked,
            }),
            _ => None,
        }
    }

    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Gtc(_) => kind::GTC,
            Self::Md5 { .. } => kind::MD5,
            Self::MsChap2 { .. } => kind::MS_CHAP_2,
        }
    }

    /// What the audit calls it.
    pub(super) const fn name(&self, around: Around) -> &'static str {
        match (around, self) {
            (Around::Nothing, Self::Gtc(_)) => "eap-gtc",
            (Around::Nothing, Self::Md5 { .. }) => "eap-md5",
            (Around::Nothing, Self::MsChap2 { .. }) => "eap-mschapv2",
            (Around::Ttls, Self::Gtc(_)) => "eap-ttls-gtc",
            (Around::Ttls, Self::MsChap2 { .. }) => "eap-ttls-mschapv2",
            (Around::Peap, Self::Gtc(_)) => "eap-peap-gtc",
            (Around::Peap, Self::MsChap2 { .. }) => "eap-peap-mschapv2",
            // It is not offered there.
            (Around::Ttls | Around::Peap, Self::Md5 { .. }) => "eap",
        }
    }

    /// What is sent to begin it, or to ask the person again.
    pub(super) fn asks(&self) -> Next {
        let data = match self {
            Self::Gtc(None) => PROMPT.to_vec(),
            Self::Gtc(Some(challenge)) => challenge.prompt.as_bytes().to_vec(),
            Self::Md5 { challenge } => eap::md5_challenge(challenge),
            Self::MsChap2 {
                ident, challenge, ..
            } => mschap::challenge(*ident, challenge),
        };
        Next::Send(self.kind(), data)
    }

    /// Takes what the peer answered.
    pub(super) fn receive(&mut self, around: Around, identifier: u8, data: &[u8]) -> Next {
        let method = self.name(around);
        let question = |shown, challenge: Option<String>, rounds| {
            Next::Decide(Question {
                shown,
                method,
                user: None,
                challenge,
                rounds,
            })
        };
        match self {
            Self::Gtc(challenge) => {
                // What is not UTF-8 is no code.
                let text = std::str::from_utf8(data).unwrap_or_default();
                let text = text.trim_end_matches('\0');
                let id = challenge.as_ref().map(|one| one.id.clone());
                question(Shown::Passcode(SecretString::from(text)), id, true)
            }
            Self::Md5 { challenge } => {
                let response = eap::md5_response(identifier, data);
                let response = response.and_then(|chap| Response::chap(&chap, challenge));
                question(Shown::Response(response), None, false)
            }
            Self::MsChap2 {
                ident,
                challenge,
                stage,
            } => {
                let said = mschap::read(data, *ident, challenge);
                match (said, std::mem::replace(stage, Stage::Failed)) {
                    (Some(mschap::Said::Response(response)), Stage::Asked) => {
                        *stage = Stage::Asked;
                        question(Shown::Response(Some(response)), None, false)
                    }
                    (None, Stage::Asked) => question(Shown::Response(None), None, false),
                    (Some(mschap::Said::Success), Stage::Proven(granted)) => Next::Accept(granted),
                    _ => Next::Refuse,
                }
            }
        }
    }

    /// Takes what was decided of a question of its own.
    pub(super) fn decided(&mut self, shown: &Shown, outcome: LoginOutcome) -> Next {
        match outcome.answer {
            LoginAnswer::Accept(accepted) => self.accepted(shown, accepted),
            LoginAnswer::Challenge(challenge) => match self {
                Self::Gtc(place) => {
                    let prompt = challenge.prompt.as_bytes().to_vec();
                    *place = Some(challenge);
                    Next::Send(kind::GTC, prompt)
                }
                _ => Next::Refuse,
            },
            LoginAnswer::Reject => match self {
                Self::MsChap2 {
                    ident,
                    challenge,
                    stage,
                } => {
                    *stage = Stage::Failed;
                    let text = microsoft::failure(challenge);
                    Next::Send(kind::MS_CHAP_2, mschap::failure(*ident, &text))
                }
                _ => Next::Refuse,
            },
        }
    }

    fn accepted(&mut self, shown: &Shown, accepted: Accepted) -> Next {
        let Self::MsChap2 { ident, stage, .. } = self else {
            return Next::Accept(Box::new(Granted {
                accepted,
                master: None,
            }));
        };
        let Some((proof, master)) = proof(shown, &accepted) else {
            return Next::Refuse;
        };
        *stage = Stage::Proven(Box::new(Granted {
            accepted,
            master: Some(master),
        }));
        Next::Send(kind::MS_CHAP_2, mschap::success(*ident, &proof))
    }
}

/// What proves to the peer that we know what it typed, and the key that both then have.
pub(super) fn proof(shown: &Shown, accepted: &Accepted) -> Option<(String, Zeroizing<[u8; 64]>)> {
    let (Shown::Response(Some(response)), Some(typed)) = (shown, &accepted.typed) else {
        return None;
    };
    let success = response.success(typed.expose());
    let keys: MppeKeys = success.keys?;
    Some((success.proof?, microsoft::master_of(&keys)?))
}

/// What is asked where nothing is known of the login yet.
const PROMPT: &[u8] = b"Enter your code or password: ";
