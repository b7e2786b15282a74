//! Sessions, as NASes report them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{LOOK, OPERATOR, calls, pages};
use crate::api::entries;

calls! {
    /// Sessions, a page at a time.
    ListSessions = list_sessions: GET "/v1/admin/sessions" in "sessions" for LOOK,
        query SessionQuery,
        200 "A page": Sessions;

    /// Asks NASes to end sessions (RFC 5176), waits for their answers, and puts them on record.
    DisconnectSessions = disconnect_sessions: POST "/v1/admin/sessions/disconnect" in "sessions" for OPERATOR,
        body Disconnect,
        200 "What came of it": Disconnected, yes |answer| answer.sessions.iter().all(|one| one.result == "ack");

    /// Asks NASes to change open sessions (CoA-Request, RFC 5176), waits for their answers, and puts them on record.
    ChangeSessions = change_sessions: POST "/v1/admin/sessions/change" in "sessions" for OPERATOR,
        body ChangeOfSessions,
        200 "What came of it": Disconnected, yes |answer| answer.sessions.iter().all(|one| one.result == "ack");
}

pages!(ListSessions: sessions by after String);

/// Which sessions.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// Only of this user.
    pub user: Option<String>,
    /// Only those that this client reports.
    pub client: Option<String>,
    /// Only those on the NAS with this NAS-Identifier or address.
    pub nas: Option<String>,
    /// `true`: only open ones; `false`: only ended ones.
    pub open: Option<bool>,
    /// Only those behind this one: `next` of the page before.
    pub after: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
}

/// A page of sessions.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Sessions {
    /// In order of client, NAS and session id.
    pub sessions: Vec<Session>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<String>,
}

/// Which open sessions are to end. One of `session` and `user` at least.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// The one with this Acct-Session-Id.
    pub session: Option<String>,
    /// All of this user.
    pub user: Option<String>,
    /// Only those that this client reports.
    pub client: Option<String>,
    /// Only those on the NAS with this NAS-Identifier or address.
    pub nas: Option<String>,
}

/// Which open sessions are to change, and to what. One of `session` and `user` at least.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeOfSessions {
    /// The one with this Acct-Session-Id.
    pub session: Option<String>,
    /// All of this user.
    pub user: Option<String>,
    /// Only those that this client reports.
    pub client: Option<String>,
    /// Only those on the NAS with this NAS-Identifier or address.
    pub nas: Option<String>,
    /// RADIUS attributes by dictionary name. None: what the client's policy has in its `[reply]` for the user now.
    #[serde(default, deserialize_with = "entries")]
    #[schema(nullable)]
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// What NASes answered.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct Disconnected {
    /// In order of client, NAS and session id.
    pub sessions: Vec<DisconnectedSession>,
}

/// What came of a request to end or change a session.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DisconnectedSession {
    /// Acct-Session-Id.
    pub session: String,
    /// The user.
    pub user: String,
    /// The RADIUS client that reports it.
    pub client: String,
    /// NAS-Identifier, else the address of the NAS.
    pub nas: String,
    /// Where the request was sent: address and port.
    pub to: Option<String>,
    /// `ack`, `nak`, `no_answer`, `not_sent`.
    pub result: String,
    /// Error-Cause of a NAK (RFC 5176 section 3.5).
    pub error_cause: Option<u32>,
    /// The result in words.
    pub detail: String,
}

/// A session.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Session {
    /// Acct-Session-Id.
    pub session: String,
    /// The user, `NAME@REALM`; as the NAS wrote it where that is no user name.
    pub user: String,
    /// The RADIUS client that reports it.
    pub client: String,
    /// NAS-Identifier, else the address of the NAS.
    pub nas: String,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub nas_ip: Option<String>,
    /// Calling-Station-Id: where the user is.
    pub calling_station: Option<String>,
    /// Framed-IP-Address: the address that the user was given.
    pub framed_ip: Option<String>,
    /// The login that began it, if the NAS returned the Class of the Access-Accept: see
    /// `GET /v1/admin/explain/{request_id}`.
    pub request_id: Option<String>,
    /// Whether it has not ended, as far as the NAS has reported.
    pub open: bool,
    /// When it began.
    pub started: String,
    /// Time of the newest report.
    pub updated: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it ended, as RFC 2866 section 5.10 calls it: `user_request`, `idle_timeout`, `nas_reboot`, ...; a
    /// number where that names none.
    pub cause: Option<String>,
    /// How long it has lasted, in seconds.
    pub seconds: u64,
    /// Octets from the user.
    pub octets_in: u64,
    /// Octets to the user.
    pub octets_out: u64,
}
