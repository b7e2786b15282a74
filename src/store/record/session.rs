//! Rows of sessions.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::id::RequestId;
use crate::model::session::{Session, SessionKey, Usage};
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, row, take};
use crate::time::UnixTime;

#[derive(Serialize, Deserialize)]
struct SessionV1<'a> {
    user: &'a str,
    login: Option<[u8; 16]>,
    nas_ip: Option<IpAddr>,
    #[serde(borrow)]
    calling_station: Option<&'a str>,
    framed_ip: Option<IpAddr>,
    started: u64,
    updated: u64,
    ended: Option<u64>,
    cause: Option<u32>,
    usage: (u64, u64, u64),
}

/// With what a request to the NAS needs.
#[derive(Serialize, Deserialize)]
struct SessionV2<'a> {
    #[serde(borrow)]
    first: SessionV1<'a>,
    #[serde(borrow)]
    user_name: Option<&'a str>,
    source: Option<IpAddr>,
}

/// A session's row key.
pub(crate) fn session_key(key: &SessionKey) -> Vec<u8> {
    let mut bytes = sessions_prefix(&key.client, &key.nas);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

/// The prefix of the row keys of a NAS's sessions.
pub(crate) fn sessions_prefix(client: &str, nas: &str) -> Vec<u8> {
    [client.as_bytes(), b"\0", nas.as_bytes(), b"\0"].concat()
}

/// Reads a session's row key.
pub(crate) fn read_session_key(key: &[u8]) -> Result<SessionKey, StoreError> {
    let text = std::str::from_utf8(key).map_err(|_| BAD_FORM)?;
    let mut parts = text.splitn(3, '\0').map(str::to_owned);
    let mut part = || parts.next().ok_or(BAD_FORM);
    Ok(SessionKey {
        client: part()?,
        nas: part()?,
        id: part()?,
    })
}

/// A session's row.
pub(crate) fn session_row(session: &Session) -> Result<Vec<u8>, StoreError> {
    let Usage {
        seconds,
        octets_in,
        octets_out,
    } = session.usage;
    let first = SessionV1 {
        user: &session.user,
        login: session.login.map(RequestId::to_bytes),
        nas_ip: session.nas_ip,
        calling_station: session.calling_station.as_deref(),
        framed_ip: session.framed_ip,
        started: session.started.as_millis(),
        updated: session.updated.as_millis(),
        ended: session.ended.map(UnixTime::as_millis),
        cause: session.cause,
        usage: (seconds, octets_in, octets_out),
    };
    let form = SessionV2 {
        first,
        user_name: session.user_name.as_deref(),
        source: session.source,
    };
    row(2, &form)
}

/// Reads a session's row.
pub(crate) fn session(key: &[u8], bytes: &[u8]) -> Result<Session, StoreError> {
    let SessionV2 {
        first: form,
        user_name,
        source,
    } = match bytes.first() {
        Some(1) => SessionV2 {
            first: take(1, bytes)?,
            user_name: None,
            source: None,
        },
        _ => take(2, bytes)?,
    };
    let (seconds, octets_in, octets_out) = form.usage;
    Ok(Session {
        key: read_session_key(key)?,
        user: form.user.to_owned(),
        login: form.login.map(RequestId::from_bytes),
        user_name: user_name.map(str::to_owned),
        nas_ip: form.nas_ip,
        source,
        calling_station: form.calling_station.map(str::to_owned),
        framed_ip: form.framed_ip,
        started: UnixTime::from_millis(form.started),
        updated: UnixTime::from_millis(form.updated),
        ended: form.ended.map(UnixTime::from_millis),
        cause: form.cause,
        usage: Usage {
            seconds,
            octets_in,
            octets_out,
        },
    })
}
