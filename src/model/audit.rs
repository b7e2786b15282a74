//! What the audit trail says: one event per decision and per change.
//!
//! Invariant: nothing secret is in an event: no code, key, password or PIN, not even a wrong one.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::id::{RequestId, Serial};
use crate::model::reason::{Decision, Reason};
use crate::time::UnixTime;

/// One link of the chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditRecord {
    /// Position: 1, 2, 3, ... without a gap.
    pub seq: u64,
    /// When it happened, by our clock.
    pub at: UnixTime,
    /// What happened.
    pub event: Event,
    /// What it changed, field by field; none where nothing but counters changed.
    pub changes: Vec<FieldChange>,
    /// MAC over this record and the MAC before it.
    pub mac: [u8; 32],
}

impl AuditRecord {
    /// The token that came into use by it: of a login in rounds not always the one that decided.
    pub fn activated(&self) -> Option<&str> {
        let mut changes = self.changes.iter();
        changes.find_map(|one| {
            let token = one.record.as_deref()?.strip_prefix("token ")?;
            let active = matches!(&one.change, Changed::Text { after: Some(after), .. } if after == "active");
            (one.field == "state" && active).then_some(token)
        })
    }
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Someone asked for a decision.
    Decision(DecisionEvent),
    /// Someone, or the daemon itself, changed something.
    Change(ChangeEvent),
}

impl Event {
    /// The request it belongs to.
    pub const fn request(&self) -> RequestId {
        match self {
            Self::Decision(event) => event.request,
            Self::Change(event) => event.request,
        }
    }
}

/// One attempt and its outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DecisionEvent {
    /// Names this attempt everywhere.
    pub request: RequestId,
    /// What the code was presented for.
    pub purpose: Purpose,
    /// What was answered. It is not always what the reason leads to: see [`crate::model::attempt::Said`].
    pub decision: Decision,
    /// Why, and what was decided: [`Reason::decision`].
    pub reason: Reason,
    /// The user, canonical; as typed (shortened, escaped when shown) when it could not be read.
    pub user: String,
    /// The token that decided, when one did.
    pub serial: Option<Serial>,
    /// The step that was consumed or found used.
    pub step: Option<u64>,
    /// Who asked.
    pub client: Arc<str>,
    /// Over which front end.
    pub channel: Channel,
    /// Where the person is, if the client said so.
    pub source: Option<IpAddr>,
    /// `policy:rule` that decided what must be presented.
    pub rule: Option<Arc<str>>,
    /// How the credential travelled: `pap`, `http`.
    pub method: Arc<str>,
    /// What the client said of itself and of the person's line, if anything.
    pub origin: Option<Arc<Origin>>,
    /// The exception in force, if one is: kind, owner, end and reason.
    pub waiver: Option<String>,
    /// What a reader must know beside the reason: what was left out of a reply, what ended a challenge.
    pub note: Option<String>,
    /// The user's failures since the last success, after this attempt.
    pub failures: u32,
    /// Whether this attempt made the lock, or the hard one, begin.
    pub locked: bool,
    /// Milliseconds from arrival to the decision, before its commit.
    pub latency: u32,
}

impl DecisionEvent {
    /// What the note says where this attempt made a lock begin that does not end by itself.
    pub const FOR_GOOD: &str = "locked until an administrator unlocks";

    /// Whether this attempt made a lock begin that does not end by itself.
    pub fn locks_for_good(&self) -> bool {
        let note = self.note.as_deref().unwrap_or_default();
        self.locked && note.contains(Self::FOR_GOOD)
    }
}

/// What a client said of itself and of the person's line, as it was sent: names to search by, never
/// proof of anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// NAS-Identifier.
    pub nas: Option<Box<str>>,
    /// NAS-IP-Address, else NAS-IPv6-Address, else the address that the packet came from.
    pub nas_ip: Option<IpAddr>,
    /// Calling-Station-Id, whatever its form.
    pub calling_station: Option<Box<str>>,
}

impl Origin {
    /// Most characters that are kept of a text.
    pub const MAX: usize = 128;

    /// What was sent, cut to [`Origin::MAX`] characters and printable; `None` when nothing was.
    pub fn new(
        nas: Option<&[u8]>,
        nas_ip: Option<IpAddr>,
        calling_station: Option<&[u8]>,
    ) -> Option<Arc<Self>> {
        let origin = Self {
            nas: nas.and_then(line),
            nas_ip,
            calling_station: calling_station.and_then(line),
        };
        (origin != Self::default()).then(|| Arc::new(origin))
    }
}

/// What can be shown on one line: other octets and controls become U+FFFD.
fn line(octets: &[u8]) -> Option<Box<str>> {
    let text = String::from_utf8_lossy(octets);
    let shown = text.chars().take(Origin::MAX);
    let shown = shown.map(|c| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    });
    let shown: String = shown.collect();
    (!shown.is_empty()).then(|| shown.into())
}

/// One change of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangeEvent {
    /// Names this change everywhere.
    pub request: RequestId,
    /// Who did it: `alice(uid 1000)`, `api:NAME`, `daemon`.
    pub actor: String,
    /// What was done, a word: `user_add`, `token_revoke`, ...
    pub action: String,
    /// To which record.
    pub target: String,
    /// The user whom it concerns, if one: for a token its owner.
    pub user: Option<String>,
    /// What else a reader must know: why, until when.
    pub detail: Option<String>,
}

/// One field of a record, before and after a change.
///
/// Invariant: of a secret it says only that it was set, changed or removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldChange {
    /// The record, `token TOTP-7F3K9Q2M`; `None`: the one that the event names as its target.
    pub record: Option<String>,
    /// The field.
    pub field: String,
    /// What became of it.
    pub change: Changed,
}

/// What became of a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changed {
    /// A value; `None`: the field was or is empty.
    Text {
        /// Before the change.
        before: Option<String>,
        /// After it.
        after: Option<String>,
    },
    /// A list, by what was added and what was removed.
    List {
        /// In the list after the change only.
        added: Vec<String>,
        /// In the list before the change only.
        removed: Vec<String>,
    },
    /// A secret.
    Secret(SecretChange),
    /// A personal field under the key of its user. Readers of the store get it opened.
    Sealed {
        /// Number of the key.
        person: u64,
        /// A value before and after.
        sealed: Vec<u8>,
    },
    /// A personal field that cannot be shown, and why, a word: `erased`, `unreadable`.
    Hidden(&'static str),
}

words! {
    /// What became of a secret; its value is never on record.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum SecretChange {
        /// There was none before.
        Set = "set",
        /// Another one took its place.
        Changed = "changed",
        /// There is none any more.
        Removed = "removed",
    }
}

words! {
    /// What a code was presented for. Every purpose consumes through the same transition.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Purpose {
        /// To get in.
        Login = "login" as 0,
        /// To prove that a pending token works.
        Confirm = "confirm" as 1,
        /// To find the offset of a token's clock or counter.
        Resync = "resync" as 2,
        /// To bind a device to a token.
        Enrol = "enrol" as 3,
        /// To answer on another channel than the one of the login.
        Inbound = "inbound" as 4,
    }
}

words! {
    /// The front end an attempt came through.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum Channel {
        /// RADIUS.
        Radius = "radius" as 0,
        /// `POST /v1/verify`.
        Http = "http" as 1,
        /// The admin API.
        Admin = "admin" as 2,
        /// A device's own requests.
        Device = "device" as 3,
        /// What a gateway brought: a text message, keys pressed in a call.
        Inbound = "inbound" as 4,
    }
}
