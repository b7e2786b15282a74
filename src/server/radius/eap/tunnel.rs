//! A TLS tunnel in EAP (EAP-TTLS, PEAPv0), and the login inside it.
//!
//! ```text
//! EAP-TTLS   handshake | attributes: a password, a response, or EAP | (MS-CHAPv2: proof)
//! PEAPv0     handshake | identity | a method | result, confirmed
//! ```
//!
//! Invariants: nothing is decided before the handshake is complete; no session is resumed, so the inner
//! method is never skipped (CVE-2017-9148); keys are given out only with an accept of what was inside.

use std::io::{Cursor, Read as _, Write as _};
use std::sync::Arc;

use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use zeroize::Zeroizing;

use crate::login::{LoginAnswer, LoginOutcome};
use crate::radius::eap::tls::{Incoming, Outgoing, START, Taken};
use crate::radius::eap::{Code, Message, kind, peap, ttls};
use crate::radius::mschap::Response;
use crate::server::radius::eap::cause::Cause;
use crate::server::radius::eap::method::{Around, Granted, Method, Next, Question, proof};
use crate::server::radius::password::Shown;

/// A tunnel under way.
pub(super) struct Tunnel {
    around: Around,
    tls: ServerConnection,
    incoming: Incoming,
    outgoing: Outgoing,
    inner: Inner,
    /// Derived when the handshake is complete.
    master: Option<Zeroizing<[u8; 64]>>,
    user: Option<String>,
    offered: Vec<u8>,
    /// Whether the peer may still ask for another method (RFC 3748 s5.3.1: once, to the first).
    may_choose: bool,
    challenge: [u8; 16],
    /// Why it ends without a login, where that is known.
    pub(super) cause: Option<Cause>,
}

/// Where the login inside stands.
enum Inner {
    /// The peer speaks first (TTLS), or is asked who it is (PEAP).
    Begins,
    /// PEAP: asked.
    Identity,
    Method(Method),
    /// TTLS with MS-CHAPv2: the proof was sent, the peer acknowledges.
    Proven(Box<Granted>),
    /// PEAP: the result was sent, the peer confirms. None: a refusal.
    Result(Option<Box<Granted>>),
}

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("a fragment that does not fit the others")]
    Fragment,
    #[error("what came through the tunnel is not what follows here")]
    Inside,
}

type Step = Result<Next, TunnelError>;

impl Tunnel {
    /// A tunnel that waits for the peer's first words. `offered`: types of methods inside it, the first of
    /// them is begun with.
    pub(super) fn new(
        around: Around,
        config: Arc<ServerConfig>,
        offered: Vec<u8>,
        challenge: [u8; 16],
    ) -> Option<Self> {
        Some(Self {
            around,
            tls: ServerConnection::new(config).ok()?,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            inner: Inner::Begins,
            master: None,
            user: None,
            offered,
            may_choose: true,
            challenge,
            cause: None,
        })
    }

    /// Its EAP type.
    pub(super) const fn kind(&self) -> u8 {
        match self.around {
            Around::Peap => kind::PEAP,
            _ => kind::TTLS,
        }
    }

    /// The first request.
    pub(super) fn start(&self) -> Next {
        Next::Send(self.kind(), START.to_vec())
    }

    /// Whether the person may be typing now.
    pub(super) const fn waits_for_person(&self) -> bool {
        self.master.is_some() && !self.outgoing.is_pending()
    }

    /// Takes the data of a response.
    pub(super) fn receive(&mut self, identifier: u8, data: &[u8], most: usize) -> Step {
        let whole = match self.incoming.take(data).ok_or(TunnelError::Fragment)? {
            Taken::More => return Ok(Next::Send(self.kind(), vec![0])),
            Taken::Whole(whole) => whole,
        };
        if self.outgoing.is_pending() {
            // RFC 5216 s2.1.5: a fragment is acknowledged by an empty response.
            if !whole.is_empty() {
                return Err(TunnelError::Fragment);
            }
            return Ok(self.flush(most));
        }
        let plain = match self.decrypt(&whole) {
            Ok(plain) => plain,
            Err(error) => {
                // The peer is told by the failure that follows; its alert would need another round.
                let _ = self.collect();
                return Err(error);
            }
        };
        if self.tls.is_handshaking() {
            self.collect()?;
            return Ok(self.flush(most));
        }
        let complete = self.master.is_none();
        if complete {
            self.master = Some(self.keys()?);
            self.collect()?;
            // By TLS 1.2 our last words of the handshake come before anything inside it.
            if self.outgoing.is_pending() {
                return Ok(self.flush(most));
            }
        }
        if complete && plain.is_empty() && self.around == Around::Ttls {
            return Ok(self.flush(most));
        }
        let next = self.inside(identifier, &plain)?;
        self.put(next, most)
    }

    /// Takes what was decided.
    pub(super) fn decided(
        &mut self,
        shown: &Shown,
        outcome: LoginOutcome,
        identifier: u8,
        most: usize,
    ) -> Step {
        let next = match &mut self.inner {
            Inner::Method(method) => method.decided(shown, outcome),
            _ => self.decided_alone(shown, outcome)?,
        };
        let next = self.finished(next, identifier)?;
        self.put(next, most)
    }

    /// TTLS without EAP inside.
    fn decided_alone(&mut self, shown: &Shown, outcome: LoginOutcome) -> Step {
        let LoginAnswer::Accept(accepted) = outcome.answer else {
            return Ok(Next::Refuse);
        };
        if let Shown::Response(Some(Response::MsChap2 { ident, .. })) = shown {
            let (proof, _) = proof(shown, &accepted).ok_or(TunnelError::Inside)?;
            self.write(&ttls::success(*ident, &proof))?;
            let granted = Granted {
                accepted,
                master: None,
            };
            self.inner = Inner::Proven(Box::new(granted));
            return Ok(Next::Send(self.kind(), Vec::new()));
        }
        Ok(Next::Accept(Box::new(Granted {
            accepted,
            master: None,
        })))
    }

    fn decrypt(&mut self, records: &[u8]) -> Result<Vec<u8>, TunnelError> {
        let mut cursor = Cursor::new(records);
        let mut plain = Vec::new();
        let all = u64::try_from(records.len()).unwrap_or(u64::MAX);
        while cursor.position() < all {
            let read = self.tls.read_tls(&mut cursor);
            if read.map_err(|_| TunnelError::Fragment)? == 0 {
                break;
            }
            let state = self.tls.process_new_packets()?;
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            let read = self.tls.reader().read_exact(&mut part);
            read.map_err(|_| TunnelError::Fragment)?;
            plain.extend(part);
        }
        Ok(plain)
    }

    /// Takes what TLS has to say.
    fn collect(&mut self) -> Result<(), TunnelError> {
        let mut octets = Vec::new();
        while self.tls.wants_write() {
            let written = self.tls.write_tls(&mut octets);
            written.map_err(|_| TunnelError::Fragment)?;
        }
        self.outgoing = Outgoing::new(octets);
        Ok(())
    }

    fn write(&mut self, plain: &[u8]) -> Result<(), TunnelError> {
        let written = self.tls.writer().write_all(plain);
        written.map_err(|_| TunnelError::Fragment)?;
        self.collect()
    }

    fn flush(&mut self, most: usize) -> Next {
        Next::Send(self.kind(), self.outgoing.next(most))
    }

    /// Puts what is sent to the peer into the tunnel.
    fn put(&mut self, next: Next, most: usize) -> Step {
        match next {
            Next::Send(kind, _) if kind == self.kind() => Ok(self.flush(most)),
            Next::Send(..) => Err(TunnelError::Inside),
            other => Ok(other),
        }
    }

    /// The master session key (RFC 5281 s8, draft-kamath-pppext-peapv0 s3, RFC 9427 s2.1).
    fn keys(&self) -> Result<Zeroizing<[u8; 64]>, TunnelError> {
        if self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let mut both = Zeroizing::new([0; 128]);
            let context = [self.kind()];
            self.tls
                .export_keying_material(both.as_mut_slice(), LABEL_13, Some(&context))?;
            let mut master = Zeroizing::new([0; 64]);
            master
                .iter_mut()
                .zip(both.iter())
                .for_each(|(to, from)| *to = *from);
            return Ok(master);
        }
        let label = match self.around {
            Around::Peap => LABEL_PEAP,
            _ => LABEL_TTLS,
        };
        let mut master = Zeroizing::new([0; 64]);
        self.tls
            .export_keying_material(master.as_mut_slice(), label, None)?;
        Ok(master)
    }

    fn implicit(&self) -> Result<ttls::Implicit, TunnelError> {
        // By TLS 1.3 as well: RFC 9427 s2.3.
        let (tls, label) = (&self.tls, LABEL_CHALLENGE);
        Ok(ttls::Implicit {
            long: tls.export_keying_material([0; 17], label, None)?,
            short: tls.export_keying_material([0; 9], label, None)?,
        })
    }

    /// What came through the tunnel.
    fn inside(&mut self, identifier: u8, plain: &[u8]) -> Step {
        let next = match self.around {
            Around::Peap => self.inside_peap(identifier, plain)?,
            _ => self.inside_ttls(plain)?,
        };
        self.finished(next, identifier)
    }

    fn inside_ttls(&mut self, plain: &[u8]) -> Step {
        if matches!(self.inner, Inner::Proven(_)) {
            let Inner::Proven(granted) = std::mem::replace(&mut self.inner, Inner::Begins) else {
                return Err(TunnelError::Inside);
            };
            return if plain.is_empty() {
                Ok(Next::Accept(granted))
            } else {
                Err(TunnelError::Inside)
            };
        }
        let shown = ttls::read(plain, &self.implicit()?).ok_or(TunnelError::Inside)?;
        match shown.inside {
            ttls::Inside::Eap(octets) => {
                let message = Message::parse(&octets).filter(|one| one.code == Code::Response);
                let message = message.ok_or(TunnelError::Inside)?;
                self.eap(message.identifier, message.kind, message.data)
            }
            _ if matches!(self.inner, Inner::Method(_)) => Err(TunnelError::Inside),
            ttls::Inside::Password(text) => Ok(Next::Decide(Question {
                shown: Shown::Passcode(text),
                method: "eap-ttls-pap",
                user: shown.user,
                challenge: None,
                rounds: false,
            })),
            ttls::Inside::Response(response, method) => Ok(Next::Decide(Question {
                shown: Shown::Response(response),
                method: match method {
                    "chap" => "eap-ttls-chap",
                    "mschap" => "eap-ttls-mschap",
                    _ => "eap-ttls-mschapv2",
                },
                user: shown.user,
                challenge: None,
                rounds: false,
            })),
        }
    }

    fn inside_peap(&mut self, identifier: u8, plain: &[u8]) -> Step {
        if matches!(self.inner, Inner::Begins) {
            if !plain.is_empty() {
                return Err(TunnelError::Inside);
            }
            self.inner = Inner::Identity;
            return Ok(Next::Send(kind::IDENTITY, Vec::new()));
        }
        match peap::read(plain).ok_or(TunnelError::Inside)? {
            peap::Inside::Response(kind, data) => self.eap(identifier, kind, data),
            peap::Inside::Result(success) => {
                match std::mem::replace(&mut self.inner, Inner::Begins) {
                    Inner::Result(Some(granted)) if success => Ok(Next::Accept(granted)),
                    Inner::Result(_) => Ok(Next::Refuse),
                    _ => Err(TunnelError::Inside),
                }
            }
        }
    }

    /// A response of EAP inside the tunnel.
    fn eap(&mut self, identifier: u8, kind: u8, data: &[u8]) -> Step {
        match &mut self.inner {
            Inner::Begins | Inner::Identity if kind == kind::IDENTITY => {
                self.user = Some(String::from_utf8_lossy(data).into_owned());
                let first = self.offered.first().copied();
                Ok(self.begin(identifier.wrapping_add(1), first))
            }
            Inner::Method(_) if kind == kind::NAK && self.may_choose => {
                self.may_choose = false;
                let wanted = data
                    .iter()
                    .find(|kind| self.offered.contains(kind))
                    .copied();
                if wanted.is_none() {
                    self.cause = Some(Cause::no_method(data, &self.offered, true));
                }
                Ok(self.begin(identifier.wrapping_add(1), wanted))
            }
            Inner::Method(method) if method.kind() == kind => {
                self.may_choose = false;
                let next = method.receive(self.around, identifier, data);
                Ok(match next {
                    Next::Decide(question) => Next::Decide(Question {
                        user: self.user.clone(),
                        ..question
                    }),
                    other => other,
                })
            }
            _ => Err(TunnelError::Inside),
        }
    }

    /// Begins a method inside, with a request of this Identifier.
    fn begin(&mut self, identifier: u8, kind: Option<u8>) -> Next {
        let method = kind.and_then(|kind| Method::of(kind, identifier, self.challenge));
        let Some(method) = method else {
            return Next::Refuse;
        };
        let asks = method.asks();
        self.inner = Inner::Method(method);
        asks
    }

    /// Wraps what a method inside has come to: its requests go through the tunnel, and in PEAP so does the
    /// result.
    fn finished(&mut self, next: Next, identifier: u8) -> Step {
        // The identifier of the request that follows.
        let following = identifier.wrapping_add(1);
        Ok(match next {
            Next::Send(kind, data) if kind != self.kind() => {
                let plain = if self.around == Around::Peap {
                    peap::request(kind, &data)
                } else {
                    let message = Message {
                        code: Code::Request,
                        identifier: following,
                        kind,
                        data: &data,
                    };
                    ttls::eap(&message.octets().ok_or(TunnelError::Inside)?)
                };
                self.write(&plain)?;
                Next::Send(self.kind(), Vec::new())
            }
            Next::Accept(granted) if self.around == Around::Peap && !self.is_confirmed() => {
                self.write(&peap::outcome(following, true))?;
                self.inner = Inner::Result(Some(granted));
                Next::Send(self.kind(), Vec::new())
            }
            Next::Refuse if self.around == Around::Peap && !self.is_confirmed() => {
                self.write(&peap::outcome(following, false))?;
                self.inner = Inner::Result(None);
                Next::Send(self.kind(), Vec::new())
            }
            Next::Accept(granted) => Next::Accept(Box::new(Granted {
                master: self.master.clone(),
                ..*granted
            })),
            other => other,
        })
    }

    /// Whether PEAP's result was exchanged: nothing is inside any more.
    const fn is_confirmed(&self) -> bool {
        matches!(self.inner, Inner::Begins)
    }
}

const LABEL_TTLS: &[u8] = b"ttls keying material";
const LABEL_PEAP: &[u8] = b"client EAP encryption";
const LABEL_13: &[u8] = b"EXPORTER_EAP_TLS_Key_Material";
const LABEL_CHALLENGE: &[u8] = b"ttls challenge";
