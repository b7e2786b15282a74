//! Transitions: what each verb does to the rows, given the newest ones. No IO of its own.
//!
//! A login and the issue of a code ([`login`], [`issue`]) have answers of their own. Every other verb is a
//! [`Change`], and one function turns it into a [`Plan`]: the word and the target that the audit shows,
//! the user concerned, and the rows written. What changed field by field is derived from the rows,
//! once for all verbs ([`changed`]).
//!
//! [`rows`] holds what several transitions share.

use std::net::IpAddr;

use crate::model::client::Client;
use crate::model::clock::Present;
use crate::model::credential::Credentials;
use crate::model::device::{DeviceCall, DeviceId};
use crate::model::enrolment::{Delegation, Enrolment, Link};
use crate::model::id::Serial;
use crate::model::session::{Report, SessionKey};
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::{User, Waiver};
use crate::model::user_key::UserKey;
use crate::otp::issued::Mark;
use crate::store::StoreError;
use crate::store::record::ACCEPT_CLOCK;
use crate::store::transition::plan::Plan;
use crate::store::transition::rows::Keys;
use crate::store::transition::working::Working;
use crate::time::UnixTime;

pub(crate) mod changed;
mod clients;
mod clock;
mod devices;
mod drafts;
mod import;
pub(crate) mod issue;
mod lifecycle;
mod links;
pub(crate) mod login;
mod plan;
mod rename;
mod reseal;
pub(crate) mod rows;
mod sessions;
mod settings;
mod tokens;
mod users;
pub(crate) mod working;

pub use clock::Reanchor;
pub use devices::DeviceAct;
pub use drafts::DraftAct;
pub use import::{Import, Prepared};
pub(crate) use lifecycle::{APPROVED_TWICE, FROZEN, OWN_REQUEST};
pub use plan::By;
pub(crate) use plan::{ADMINISTRATORS_ONLY, SHARED_WITH_CONSOLE};
pub use reseal::Reseal;
pub use settings::{GroupAct, Loaded, LoadedFile, Prunable, Synced};
pub(crate) use tokens::{CARRIED, COUNTS_TWICE, LINKED, OWN_TOKEN, SEED_TAKEN, TWIN};
pub use users::WaiverKind;
pub(crate) use users::{ALIAS_TAKEN, LOCKED_FOR_GOOD, NAME_IS_ALIAS, OWN_REMOVAL};

/// One change of the records, as plain data. Each has one function here that says what it comes to.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new user, with what the user knows; conflict when there is one.
    CreateUser(User, Option<Credentials>),
    /// The user as it shall be; its `revision` is the one that was seen.
    UpdateUser(User),
    /// The user under another name, with all that is theirs; its `revision` is the one that was seen.
    /// Conflict when there is a user of that name.
    RenameUser(UserKey, User),
    /// The user, its tokens and all their state; like every removal under the revision that was
    /// seen, if one was.
    RemoveUser(UserKey, Option<u64>),
    /// Destroys the keys of the personal data of all who had this name, and removes the user if there is
    /// one; not found when there is nothing to destroy.
    EraseUser(UserKey),
    /// Forgets the failures and locks of the user and its tokens.
    Unlock(UserKey),
    /// Ends the waits and timed locks of the user and its tokens; what was counted stays. A conflict where
    /// none runs, and what locks ends by no time.
    EndWaits(UserKey),
    /// Grants or ends an exception; `expected` is the user's revision that was seen.
    SetWaiver {
        /// Whose.
        user: UserKey,
        /// Which.
        which: WaiverKind,
        /// None ends it.
        waiver: Option<Waiver>,
        /// The user's revision as seen.
        expected: u64,
    },
    /// The verifiers of a user as they shall be; their `revision` is the one that was seen.
    SetCredentials(UserKey, Credentials),
    /// The same verifiers with hashes made anew: their revision stays, and with it what was bound
    /// to it.
    RenewCredentials(UserKey, Credentials),
    /// Forgets sources whose last failure is before this time; not found when there is none.
    ForgetSources {
        /// Failures after it are kept.
        before: UnixTime,
    },
    /// Takes what a NAS reports of a session; not found when it says nothing new.
    ReportSession(Report),
    /// Ends sessions whose NAS has restarted; not found when none of them was open before that.
    EndSessions {
        /// Which: of one NAS.
        sessions: Vec<SessionKey>,
        /// When it restarted.
        at: UnixTime,
    },
    /// Removes sessions from the list; not found when none of them goes.
    ForgetSessions {
        /// Which.
        sessions: Vec<SessionKey>,
        /// Those of them without a report since.
        before: UnixTime,
        /// Whose, where a user is erased.
        user: Option<UserKey>,
    },
    /// A new token and where its moving factor starts; conflict when the serial exists.
    CreateToken(Token, TokenState),
    /// A new token that a device carries, by the device's own request; conflict when it carries one of the
    /// kind already that is not replaced.
    CarryToken(Box<Token>, DeviceCall),
    /// Moves a token through its life; `expected` is the revision that was seen.
    SetTokenState {
        /// Which token.
        serial: Serial,
        /// Its new state.
        state: LifeCycle,
        /// Its revision as seen.
        expected: u64,
        /// Why, a word.
        reason: Option<String>,
    },
    /// Gives a pending token a link by which its owner takes the key over.
    OfferLink {
        /// Which token.
        serial: Serial,
        /// The link.
        link: Link,
        /// Its revision as seen.
        expected: u64,
    },
    /// The owner takes the key over; `NotTaken` where the mark is none of a link that is open.
    RedeemLink {
        /// Which token.
        serial: Serial,
        /// Of the code that was presented.
        mark: Mark,
        /// Whether the token ends, and its owner gets one on a device instead.
        by_device: bool,
        /// Its revision as seen.
        expected: u64,
    },
    /// Approves a requested token.
    ApproveToken {
        /// Which token.
        serial: Serial,
        /// Who.
        by: String,
        /// In whose name, when in that of another approver.
        on_behalf: Option<String>,
        /// Its revision as seen.
        expected: u64,
    },
    /// Gives a token in stock to a user.
    AssignToken {
        /// Which token.
        serial: Serial,
        /// To whom.
        user: UserKey,
        /// Its state then: pending or active.
        state: LifeCycle,
        /// By whose rules.
        enrolment: Box<Enrolment>,
        /// Its revision as seen.
        expected: u64,
    },
    /// Takes a token back into stock.
    UnassignToken {
        /// Which token.
        serial: Serial,
        /// Its revision as seen.
        expected: u64,
    },
    /// Gives a token a new end.
    RenewToken {
        /// Which token.
        serial: Serial,
        /// From when it is no longer good.
        expires: UnixTime,
        /// Its revision as seen.
        expected: u64,
        /// The device's request that proves it, when a device asked.
        call: Option<DeviceCall>,
    },
    /// Makes a token count for a second user too: one key, one counter (capabilities C13).
    LinkToken(Serial, UserKey),
    /// Ends that; the owner keeps it.
    UnlinkToken(Serial, UserKey),
    /// Ends tokens whose time has come; not found when there is none.
    ExpireTokens,
    /// Changes a device, or takes a request of it that changes nothing else.
    Device {
        /// Which.
        id: DeviceId,
        /// What.
        act: DeviceAct,
        /// The device's own request, when it asked itself.
        call: Option<DeviceCall>,
    },
    /// Declares an outage, or ends it.
    SetOutage(Option<Waiver>),
    /// A group of a source as it shall be.
    SourceGroup(GroupAct),
    /// Users were made as their source says.
    SourceSynced(Synced),
    /// Lends a right to approve.
    Delegate(Delegation),
    /// Takes it back: from whom, to whom.
    Undelegate(String, String),
    /// What becomes of the draft of a policy.
    Draft(DraftAct),
    /// Changes no record: something that the audit must show.
    Note {
        /// What was done, a word.
        action: &'static str,
        /// To what.
        target: String,
        /// The user whom it concerns, if one.
        user: Option<String>,
        /// What else a reader must know.
        detail: String,
    },
    /// Changes no record, either: what is said of a user is sealed in the audit under the key of the user's personal
    /// data.
    NoteUser {
        /// What was done, a word.
        action: &'static str,
        /// Of whom.
        user: UserKey,
        /// What is said.
        text: String,
    },
    /// The notices about records up to this one are done.
    Notified {
        /// The record.
        seq: u64,
        /// What was sent, for the audit.
        detail: String,
    },
    /// A backup was made.
    BackedUp {
        /// The last record in it.
        seq: u64,
        /// What is in it, for the audit.
        detail: String,
    },
    /// The master key was exchanged; where the new one is.
    MasterExchanged(String),
    /// A step of the exchange of a data key.
    Reseal(Reseal),
    /// The token and its state.
    RemoveToken(Serial, Option<u64>),
    /// A new client; conflict when the name exists.
    CreateClient(Client),
    /// The client as it shall be; its `revision` is the one that was seen.
    UpdateClient(Client),
    /// The client.
    RemoveClient(String, Option<u64>),
    /// A client's address proved that it signs its requests.
    Learn {
        /// The client's name.
        client: String,
        /// The address.
        address: IpAddr,
    },
    /// Many new users and tokens, all or none; one audit record.
    Import(Prepared),
    /// Old audit records go, in whole segments.
    PruneAudit(Prunable),
    /// An administrator vouches for the present time although later times are on record.
    AcceptClock,
    /// Files that decide are in force from now on; not found where nothing differs and it was not asked for.
    Loaded(Loaded),
    /// Takes back what a clock that was ahead left behind of a user.
    Reanchor(Box<Reanchor>),
    /// The same of tokens that are gone, by the keys of their rows.
    ReanchorRetired {
        /// The present.
        present: Present,
        /// The rows, with the steps known to be consumed.
        keys: Vec<(Vec<u8>, Option<Vec<u64>>)>,
    },
    /// The same of sources; not found when there is none left.
    ReanchorSources(Present),
}

impl Change {
    /// What it comes to on these rows.
    pub(crate) fn plan(self, rows: &Working<'_>, keys: Keys<'_>) -> Result<Plan, StoreError> {
        let at = keys.now;
        match self {
            Self::CreateUser(user, known) => users::create(rows, &user, known.as_ref(), keys),
            Self::UpdateUser(user) => users::update(rows, &user, keys),
            Self::SourceGroup(act) => act.plan(rows),
            Self::SourceSynced(synced) => synced.plan(),
            Self::RenameUser(from, user) => rename::rename(rows, &from, &user, keys),
            Self::RemoveUser(user, expected) => users::remove(rows, &user, expected, keys),
            Self::EraseUser(user) => users::erase(rows, &user, keys),
            Self::Unlock(user) => users::unlock(rows, &user),
            Self::EndWaits(user) => users::end_waits(rows, &user, at),
            Self::SetWaiver {
                user,
                which,
                waiver,
                expected,
            } => users::set_waiver(rows, &user, (which, waiver), expected, keys),
            Self::SetCredentials(user, set) => users::set_credentials(rows, &user, &set, keys),
            Self::RenewCredentials(user, set) => users::renew_credentials(rows, &user, &set, keys),
            Self::ForgetSources { before } => settings::forget_sources(rows, before, at),
            Self::ReportSession(report) => sessions::report(rows, report),
            Self::EndSessions { sessions, at } => sessions::end(rows, &sessions, at),
            Self::ForgetSessions {
                sessions,
                before,
                user,
            } => sessions::forget(rows, &sessions, before, user.as_ref()),
            Self::CreateToken(token, state) => tokens::create(rows, &token, &state, keys),
            Self::CarryToken(token, call) => tokens::carry(rows, &token, &call, keys),
            Self::SetTokenState {
                serial,
                state,
                expected,
                reason,
            } => lifecycle::set_state(rows, &serial, (state, reason), expected, at),
            Self::OfferLink {
                serial,
                link,
                expected,
            } => links::offer(rows, &serial, link, expected, at),
            Self::RedeemLink {
                serial,
                mark,
                by_device,
                expected,
            } => links::redeem(rows, &serial, (mark, by_device), expected, at),
            Self::ApproveToken {
                serial,
                by,
                on_behalf,
                expected,
            } => lifecycle::approve(rows, &serial, (&by, on_behalf.as_deref()), expected, at),
            Self::AssignToken {
                serial,
                user,
                state,
                enrolment,
                expected,
            } => tokens::assign(rows, &serial, &user, (state, &enrolment), expected, keys),
            Self::UnassignToken { serial, expected } => {
                tokens::unassign(rows, &serial, expected, at)
            }
            Self::RenewToken {
                serial,
                expires,
                expected,
                call,
            } => tokens::renew(rows, &serial, expires, (expected, call.as_ref()), at),
            Self::LinkToken(serial, user) => tokens::link(rows, &serial, &user, keys),
            Self::UnlinkToken(serial, user) => tokens::unlink(rows, &serial, &user, at),
            Self::ExpireTokens => lifecycle::expire(rows, at),
            Self::Device { id, act, call } => devices::change(rows, &id, act, call.as_ref(), at),
            Self::SetOutage(outage) => settings::outage(rows, outage.as_ref()),
            Self::Delegate(lent) => settings::delegate(&lent),
            Self::Undelegate(from, to) => settings::undelegate(rows, &from, &to),
            Self::Draft(act) => act.plan(rows, keys),
            Self::Note {
                action,
                target,
                user,
                detail,
            } => Ok(Plan::noted(action, &target).concerns(user).detail(detail)),
            Self::NoteUser { action, user, text } => users::note(rows, action, (&user, text), keys),
            Self::Notified { seq, detail } => Ok(settings::notified(seq, detail)),
            Self::BackedUp { seq, detail } => settings::backed_up(rows, (at, seq), detail),
            Self::MasterExchanged(place) => settings::master_exchanged(at, &place),
            Self::Reseal(step) => step.plan(rows, keys),
            Self::RemoveToken(serial, expected) => tokens::remove(rows, &serial, expected, keys),
            Self::CreateClient(client) => clients::create(rows, &client, keys),
            Self::UpdateClient(client) => clients::update(rows, &client, keys),
            Self::RemoveClient(name, expected) => clients::remove(rows, &name, expected),
            Self::Learn { client, address } => clients::learn(rows, &client, address),
            Self::Import(prepared) => prepared.plan(rows, keys),
            Self::PruneAudit(prunable) => settings::prune(rows, &prunable, keys),
            Self::AcceptClock => Ok(Plan::noted(ACCEPT_CLOCK, &at.rfc3339())),
            Self::Loaded(loaded) => settings::loaded(rows, loaded),
            Self::Reanchor(change) => clock::user(rows, &change),
            Self::ReanchorRetired { present, keys } => clock::retired(rows, present, &keys),
            Self::ReanchorSources(present) => clock::sources(rows, present),
        }
    }

    /// The last audit record that goes with it.
    pub(crate) const fn prunes(&self) -> Option<u64> {
        match self {
            Self::PruneAudit(prunable) => Some(prunable.last()),
            _ => None,
        }
    }
}
