//! How a call of the HTTP API is declared: once, in the file of its noun, beside its body and answer.
//!
//! ```text
//! declaration -> router         server/http/route.rs: who may, what is read, what is answered
//!             -> OpenAPI        server/http/describe.rs
//!             -> remote client  cli/transport.rs: Transport::call::<ListUsers>(...)
//! ```
//!
//! The first paragraph of a declaration's doc comment is its summary in the `OpenAPI` document, the rest its
//! description. Deny by default: each declaration says whom it is for ([`Access`]).

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

use crate::model::client::Scope;
use crate::wire::percent_encode;

/// A call of the HTTP API.
pub trait Call: Send + Sync + 'static {
    /// Method, path, and what else is no type.
    const OPERATION: Operation;
    /// What stands in the path for the name in braces.
    type Place: Place;
    /// The query.
    type Query: Serialize + DeserializeOwned + IntoParams + Send + Sync;
    /// The body of the request.
    type Body: Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static;
    /// The body of the answer.
    type Answer: Serialize + DeserializeOwned + ToSchema + Send + Sync;

    /// The body where none is sent; `None`: one must be.
    fn without_body() -> Option<Self::Body>;

    /// What the answer's `ETag` names.
    fn revision(_: &Self::Answer) -> Option<u64> {
        None
    }

    /// Whether the answer is a yes, for callers that look at the status only.
    fn is_yes(_: &Self::Answer) -> bool {
        true
    }
}

/// A list that is read in pages.
pub trait Pages: Call<Place = (), Body = ()> {
    /// What names the last record of a page.
    type Cursor: Cursor;

    /// Where a query says behind which record the page begins, and how many it has at most.
    fn place(query: &mut Self::Query) -> (&mut Option<Self::Cursor>, &mut Option<usize>);

    /// Where the page behind this one begins.
    fn next(answer: &Self::Answer) -> Option<Self::Cursor>;

    /// How many records there are.
    fn len(answer: &Self::Answer) -> usize;

    /// Adds the page behind.
    fn append(answer: &mut Self::Answer, page: Self::Answer);

    /// Rows that cannot be listed.
    fn damaged(_: &Self::Answer) -> &[String] {
        &[]
    }
}

/// What names a record in a list.
pub trait Cursor: Clone + Send + Sync {
    /// Whether it leads on from where a page of so many records began. A server that leads in a circle is
    /// not followed.
    fn leads_on(&self, before: Option<&Self>, records: usize) -> bool;
}

impl Cursor for String {
    fn leads_on(&self, before: Option<&Self>, records: usize) -> bool {
        before != Some(self) && records > 0
    }
}

/// The newest records come first. A page may be empty where a filter passed over many records.
impl Cursor for u64 {
    fn leads_on(&self, before: Option<&Self>, _: usize) -> bool {
        before.is_none_or(|before| self < before)
    }
}

/// Says how a list is read in pages: the field of its records, that of its query with the cursor, and that of
/// damaged rows.
macro_rules! pages {
    ($call:ident: $records:ident by $cursor:ident $kind:ty $(, $damaged:ident)?) => {
        impl $crate::api::call::Pages for $call {
            type Cursor = $kind;

            fn place(query: &mut Self::Query) -> (&mut Option<$kind>, &mut Option<usize>) {
                (&mut query.$cursor, &mut query.limit)
            }

            fn next(answer: &Self::Answer) -> Option<$kind> {
                answer.next.clone()
            }

            fn len(answer: &Self::Answer) -> usize {
                answer.$records.len()
            }

            fn append(answer: &mut Self::Answer, page: Self::Answer) {
                answer.$records.extend(page.$records);
                answer.next = page.next;
            }

            $(fn damaged(answer: &Self::Answer) -> &[String] {
                &answer.$damaged
            })?
        }
    };
}

pub(crate) use pages;

/// What a declaration says of a call beside its types.
pub struct Operation {
    /// The name of the call in the `OpenAPI` document.
    pub id: &'static str,
    /// The method; `HEAD` is as `GET`.
    pub method: Method,
    /// The path, with a name in braces or none; two where clients of other products ask so.
    pub path: &'static str,
    /// The group in the `OpenAPI` document.
    pub tag: &'static str,
    /// The lines of the doc comment.
    pub doc: &'static [&'static str],
    /// Whom it is for.
    pub access: Access,
    /// Whether it has a body.
    pub takes: Takes,
    /// Whether the body may be longer than others: an import.
    pub large: bool,
    /// Status of the answer.
    pub status: u16,
    /// What the answer is.
    pub answer: &'static str,
    /// Media types of the answer.
    pub media: &'static [&'static str],
    /// Whether `If-Match` is heeded.
    pub if_match: bool,
    /// How the user in the path is named.
    pub named: NamedBy,
    /// Whether `Idempotency-Key` is heeded.
    pub idempotent: bool,
    /// Answers that are 401 where the caller looks at the status only; none: it cannot.
    pub by_status: Option<&'static str>,
    /// Failures beside those that follow from the rest.
    pub failures: &'static [(u16, &'static str)],
}

impl Operation {
    /// The body is that of an administrator who has much to say.
    #[must_use]
    pub const fn large(mut self) -> Self {
        self.large = true;
        self
    }

    /// Heeds `If-Match`: 412 where the record has another revision.
    #[must_use]
    pub const fn if_match(mut self) -> Self {
        self.if_match = true;
        self
    }

    /// Takes no alias in the path.
    #[must_use]
    pub const fn own_name(mut self) -> Self {
        self.named = NamedBy::OwnName;
        self
    }

    /// Heeds `Idempotency-Key`: a retry gets the first answer.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Heeds `Prefer: status`: these answers are 401 then.
    #[must_use]
    pub const fn by_status(mut self, otherwise: &'static str) -> Self {
        self.by_status = Some(otherwise);
        self
    }

    /// The answer is no JSON document.
    #[must_use]
    pub const fn media(mut self, media: &'static [&'static str]) -> Self {
        self.media = media;
        self
    }

    /// Failures that need words of their own.
    #[must_use]
    pub const fn fails(mut self, failures: &'static [(u16, &'static str)]) -> Self {
        self.failures = failures;
        self
    }

    /// What the names in braces are.
    pub fn places(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.path.split('{').skip(1);
        parts.filter_map(|part| part.split_once('}').map(|(name, _)| name))
    }
}

/// Whom a call is for.
///
/// The scope `verify` opens nothing of the administration: the key of an application must not become the key
/// of an administrator (threats T28).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Everybody; it says nothing about users or clients.
    Open,
    /// This machine without a key, administrators from elsewhere.
    Near,
    /// Gateways, known by their signature.
    Gateway,
    /// Keys with the scope `verify`.
    Verify,
    /// Devices, known by their signature.
    Device,
    /// Clients of other products, known by their address.
    Network,
    /// People with an enrolment link, known by its code.
    Link,
    /// Keys with the scope `scim`.
    Scim,
    /// Administrators, local callers, and keys with one of these scopes.
    Admin(&'static [Scope]),
}

/// Administrators alone.
pub const ADMIN: Access = Access::Admin(&[]);
/// Auditors: they read.
pub const AUDITOR: Access = Access::Admin(&[Scope::Auditor]);
/// Operators: they work with users and tokens.
pub const OPERATOR: Access = Access::Admin(&[Scope::Operator]);
/// Approvers: they decide about requests for tokens.
pub const APPROVER: Access = Access::Admin(&[Scope::Approver]);
/// Operators, and auditors who look at their work.
pub const LOOK: Access = Access::Admin(&[Scope::Operator, Scope::Auditor]);
/// The same, and approvers.
pub const LOOK_AT_REQUESTS: Access =
    Access::Admin(&[Scope::Operator, Scope::Approver, Scope::Auditor]);

/// How a call names a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// By the own name or an alias.
    AnyName,
    /// By the own name: what cannot be undone is not done to a user of an alias.
    OwnName,
}

/// Whether a call has a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// No body.
    Nothing,
    /// A body.
    Body,
    /// A body that may be left out.
    OptionalBody,
}

/// What stands in a path for the name in braces.
pub trait Place: Send + Sync + 'static {
    /// What it is.
    const WHAT: &'static str;
    /// What a second name is.
    const WITHIN: &'static str = "";
    /// What a client writes there.
    type Text<'a>: Written + Copy + Send + Sync;
}

/// The text of a place.
pub trait Written {
    /// It, where the path has such a place.
    fn written(&self) -> Option<&str>;
}

impl Written for () {
    fn written(&self) -> Option<&str> {
        None
    }
}

impl Written for &str {
    fn written(&self) -> Option<&str> {
        Some(self)
    }
}

impl Place for () {
    const WHAT: &'static str = "";
    type Text<'a> = ();
}

/// A challenge of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientChallenge;

impl Place for ClientChallenge {
    const WHAT: &'static str = ClientName::WHAT;
    const WITHIN: &'static str = "The challenge, as it was given out";
    type Text<'a> = &'a str;
}

macro_rules! places {
    ($($(#[doc = $doc:literal])* $place:ident = $what:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $place;

        impl Place for $place {
            const WHAT: &'static str = $what;
            type Text<'a> = &'a str;
        }
    )*};
}

places! {
    /// A user.
    UserName = "`name`, `name@realm` or `DOMAIN\\name`";
    /// A token.
    TokenSerial = "The token's serial";
    /// A client.
    ClientName = "The client's name";
    /// A policy.
    PolicyName = "The policy's name";
    /// The draft of a policy.
    DraftName = "Name of the policy";
    /// A device.
    DeviceName = "The device's id";
    /// A gateway.
    GatewayName = "Name of the gateway";
    /// A source of users.
    SourceName = "Name of the source";
    /// A user or group of a source.
    ScimId = "The resource's `id`";
    /// A medium by which gateways bring messages.
    InboundMedium = "`sms` or `voice`";
    /// An audit record.
    AuditSeq = "Number of the record";
    /// A request.
    RequestName = "26 characters, as answers give it";
    /// A round.
    ChallengeName = "The round, as its beginning named it";
}

/// A query without parameters.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, Serialize, IntoParams)]
pub struct NoQuery {}

/// Path and query of a call.
///
/// # Errors
///
/// When the query holds what no query can.
pub fn target<C: Call>(
    place: <C::Place as Place>::Text<'_>,
    query: &C::Query,
) -> Result<String, serde_urlencoded::ser::Error> {
    let path = C::OPERATION.path;
    let mut target = String::with_capacity(path.len());
    match (place.written(), path.split_once('{')) {
        (Some(text), Some((before, rest))) => {
            target.push_str(before);
            percent_encode(text, &mut target);
            target.push_str(rest.split_once('}').map_or("", |(_, after)| after));
        }
        _ => target.push_str(path),
    }
    let query = serde_urlencoded::to_string(query)?;
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query);
    }
    Ok(target)
}

/// Declares calls. The order is fixed:
///
/// ```text
/// /// SUMMARY
/// TYPE = OPERATION_ID: METHOD "PATH" in "TAG" for ACCESS,
///     at PLACE, query TYPE, body TYPE | optional TYPE,
///     STATUS "DESCRIPTION": TYPE, etag FIELD, yes |ANSWER| CONDITION
///     => RULE(...);
/// ```
macro_rules! calls {
    ($(
        $(#[doc = $doc:literal])*
        $call:ident = $id:ident: $method:ident $path:literal in $tag:literal for $access:expr,
        $(at $place:ty,)? $(query $query:ty,)? $(body $body:ty,)? $(optional $optional:ty,)?
        $status:literal $what:literal: $answer:ty
        $(, etag $($etag:ident).+)? $(, yes |$bound:ident| $yes:expr)?
        $(=> $rule:ident($($value:expr),*))*;
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $call;

        impl $crate::api::call::Call for $call {
            const OPERATION: $crate::api::call::Operation = $crate::api::call::Operation {
                id: stringify!($id),
                method: hyper::Method::$method,
                path: $path,
                tag: $tag,
                doc: &[$($doc),*],
                access: $access,
                takes: $crate::api::call::calls!(@takes $($body)?; $($optional)?),
                large: false,
                status: $status,
                answer: $what,
                media: &["application/json"],
                if_match: false,
                named: $crate::api::call::NamedBy::AnyName,
                idempotent: false,
                by_status: None,
                failures: &[],
            }$(.$rule($($value),*))*;
            type Place = $crate::api::call::calls!(@given ($($place)?) ());
            type Query = $crate::api::call::calls!(@given ($($query)?) $crate::api::call::NoQuery);
            type Body = $crate::api::call::calls!(@given ($($body)? $($optional)?) ());
            type Answer = $answer;

            fn without_body() -> Option<Self::Body> {
                $crate::api::call::calls!(@without $($body)?; $($optional)?)
            }

            $(fn revision(answer: &Self::Answer) -> Option<u64> {
                Some(answer.$($etag).+)
            })?

            $(fn is_yes($bound: &Self::Answer) -> bool {
                $yes
            })?
        }
    )*};
    (@takes ;) => { $crate::api::call::Takes::Nothing };
    (@takes $body:ty;) => { $crate::api::call::Takes::Body };
    (@takes ; $body:ty) => { $crate::api::call::Takes::OptionalBody };
    (@without ;) => { Some(()) };
    (@without $body:ty;) => { None };
    (@without ; $body:ty) => { Some(Default::default()) };
    (@given () $otherwise:ty) => { $otherwise };
    (@given ($given:ty) $otherwise:ty) => { $given };
}

pub(crate) use calls;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ListUsers, ShowUser, UserPage};

    #[test]
    fn a_name_cannot_leave_its_place() {
        let path = |user| target::<ShowUser>(user, &NoQuery {}).unwrap();
        for (user, written) in [
            ("alice@default", "alice%40default"),
            ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"),
            ("..", "%2E%2E"),
            ("\u{c774}\r\n", "%EC%9D%B4%0D%0A"),
        ] {
            assert_eq!(path(user), format!("/v1/admin/users/{written}"));
        }
    }

    #[test]
    fn queries_hold_what_is_there() {
        let query = UserPage {
            after: Some("1&2".to_owned()),
            search: Some("+".to_owned()),
            ..UserPage::default()
        };
        assert_eq!(
            target::<ListUsers>((), &query).unwrap(),
            "/v1/admin/users?after=1%262&search=%2B"
        );
        let none = target::<ListUsers>((), &UserPage::default()).unwrap();
        assert_eq!(none, "/v1/admin/users");
    }
}
