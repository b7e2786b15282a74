//! The facts of one request that rules look at.

use std::net::IpAddr;

use crate::time::UnixTime;

/// What is known about a request, borrowed from it. Names are canonical already.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The time of the request.
    pub now: UnixTime,
    /// Name of the asking client.
    pub client: &'a str,
    /// Name of the user, without realm.
    pub user: &'a str,
    /// Realm of the user.
    pub realm: &'a str,
    /// Groups of the user; empty for unknown users.
    pub groups: &'a [String],
    /// Class of the user.
    pub user_class: Option<&'a str>,
    /// Where the person is: Calling-Station-Id or `client_ip`, when it is an address.
    pub source: Option<IpAddr>,
    /// How the credential came, see [`crate::model::method`].
    pub method: &'a str,
    /// RADIUS attributes of the request by dictionary name, in text form, repeated as they came.
    pub attributes: &'a [(&'a str, &'a str)],
    /// The HTTP request's `context`.
    pub context: &'a [(&'a str, &'a str)],
}
