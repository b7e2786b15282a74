//! Tokens.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{
    ADMIN, APPROVER, Access, LOOK_AT_REQUESTS, OPERATOR, TokenSerial, calls, pages,
};
use crate::api::{Lock, in_clear, unless_null};
use crate::model::client::Scope;
use crate::secret::SecretString;

calls! {
    /// Tokens, a page at a time.
    ListTokens = list_tokens: GET "/v1/admin/tokens" in "tokens" for LOOK_AT_REQUESTS,
        query TokenPage,
        200 "A page": Tokens;

    /// Makes a token. The answer holds its key, cells or codes: the only time they are shown. Of what
    /// others must approve first they are shown when it is handed out.
    AddToken = create_token: POST "/v1/admin/tokens" in "tokens" for OPERATOR,
        body TokenCreate,
        201 "Made": TokenCreated, etag token.revision;

    /// A token.
    ShowToken = show_token: GET "/v1/admin/tokens/{serial}" in "tokens" for LOOK_AT_REQUESTS,
        at TokenSerial,
        200 "The token": Token, etag revision;

    /// Removes a token.
    RemoveToken = remove_token: DELETE "/v1/admin/tokens/{serial}" in "tokens" for OPERATOR,
        at TokenSerial,
        204 "Removed": () => if_match();

    /// Activates a pending token by its first right code, which is thereby used up.
    ConfirmToken = confirm_token: POST "/v1/admin/tokens/{serial}/confirm" in "tokens" for OPERATOR,
        at TokenSerial, body Confirm,
        200 "Active": Token, etag revision => if_match();

    /// Finds a token's clock or counter again by two consecutive codes, which are thereby used up.
    ResyncToken = resync_token: POST "/v1/admin/tokens/{serial}/resync" in "tokens" for OPERATOR,
        at TokenSerial, body Resync,
        200 "Found": Token, etag revision => if_match();

    /// Pauses a token.
    SuspendToken = suspend_token: POST "/v1/admin/tokens/{serial}/suspend" in "tokens" for OPERATOR,
        at TokenSerial,
        200 "Suspended": Token, etag revision => if_match();

    /// Ends a pause.
    ResumeToken = resume_token: POST "/v1/admin/tokens/{serial}/resume" in "tokens" for OPERATOR,
        at TokenSerial,
        200 "Active": Token, etag revision => if_match();

    /// Ends a token for good.
    RevokeToken = revoke_token: POST "/v1/admin/tokens/{serial}/revoke" in "tokens" for OPERATOR,
        at TokenSerial, optional Revoke,
        200 "Revoked": Token, etag revision => if_match();

    /// Hands a token out: a code for its device, a code to its address, the cells of a card, the key.
    OfferToken = offer_token: POST "/v1/admin/tokens/{serial}/offer" in "tokens" for OPERATOR,
        at TokenSerial, optional Offer,
        200 "Handed out": Offered, etag token.revision => if_match();

    /// Approves a token request.
    // An operator in the name of an approver only, who lent the right; the handler sees to it.
    ApproveToken = approve_token: POST "/v1/admin/tokens/{serial}/approve" in "tokens"
        for Access::Admin(&[Scope::Approver, Scope::Operator]),
        at TokenSerial, optional Approve,
        200 "Counted": Token, etag revision => if_match();

    /// Ends a request that was not handed out.
    DenyToken = deny_token: POST "/v1/admin/tokens/{serial}/deny" in "tokens" for APPROVER,
        at TokenSerial, body Deny,
        200 "Revoked": Token, etag revision => if_match();

    /// Gives a token in use a new end.
    RenewToken = renew_token: POST "/v1/admin/tokens/{serial}/renew" in "tokens" for OPERATOR,
        at TokenSerial, optional Renew,
        200 "Renewed": Token, etag revision => if_match();

    /// Gives a token in stock to a user: pending until the user's first right code, or in use at once where two
    /// consecutive codes of it are given, or `active` says so.
    ///
    /// Where codes are given and refused it stays in stock.
    AssignToken = assign_token: POST "/v1/admin/tokens/{serial}/assign" in "tokens" for OPERATOR,
        at TokenSerial, body Assign,
        200 "Assigned": Token, etag revision => if_match();

    /// Takes a token back into stock: it is no user's any more.
    UnassignToken = unassign_token: POST "/v1/admin/tokens/{serial}/unassign" in "tokens" for OPERATOR,
        at TokenSerial,
        200 "In stock": Token, etag revision => if_match();

    /// Makes a token count for a second user too, after two consecutive codes of it.
    // For administrators: no approval stands behind it, and who links a token to another's account lets them in.
    LinkToken = link_token: POST "/v1/admin/tokens/{serial}/link" in "tokens" for ADMIN,
        at TokenSerial, body Link,
        200 "Linked": Token, etag revision;

    /// Makes a token count for its owner only again.
    UnlinkToken = unlink_token: POST "/v1/admin/tokens/{serial}/unlink" in "tokens" for OPERATOR,
        at TokenSerial, body Unlink,
        200 "Unlinked": Token, etag revision;
}

pages!(ListTokens: tokens by after String, damaged);

/// A token to be made.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// Whose: `name` or `name@realm`.
    pub user: String,
    /// `totp`, `hotp`, `server`, `sms`, `email`, `voice`, `card`, `recovery` or `yubikey`.
    pub kind: String,
    /// `sha1` (default), `sha256`, `sha512`.
    pub algorithm: Option<String>,
    /// 6 (default) to 9.
    pub digits: Option<u8>,
    /// Seconds per code: 15 to 300; 30 by default.
    pub period: Option<u16>,
    /// Key in base 32; generated when absent. Of a yubikey its AES key in hexadecimal digits: 32, or 44 with
    /// the private id behind it.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "in_clear")]
    pub secret: Option<SecretString>,
    /// What a yubikey types before each OTP: 1 to 16 letters of modhex; generated when absent. It is its
    /// serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_id: Option<String>,
    /// What a yubikey has in each OTP: 12 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    pub private_id: Option<SecretString>,
    /// First counter (HOTP); of a yubikey usage counter times 256 plus session use.
    pub counter: Option<u64>,
    /// Active at once, without a first right code. Pending all the same where a counter-based key is given and the store
    /// was restored: `warnings` says so.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub active: bool,
    /// Name; generated when absent.
    pub serial: Option<String>,
    /// Where its codes are sent (`sms`, `email`, `voice`); the user's own when absent.
    pub address: Option<String>,
    /// The user's token that ends when this one is proven.
    pub replaces: Option<String>,
    /// From when it is no longer good (RFC 3339).
    pub expires: Option<String>,
    /// Instead: seconds that it lasts from its first use; as the policy says when absent.
    pub valid_for_secs: Option<u64>,
    /// Whether others must approve it first, as many as the policy says. Requests of operators
    /// always do.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub request: bool,
    /// Whose `[enrolment]` and `[codes]` apply; `default` when absent.
    pub policy: Option<String>,
    /// Codes on the sheet (`recovery`): 1 to 32, 10 when absent.
    pub count: Option<u8>,
}

/// A token.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// Its name.
    pub serial: String,
    /// Canonical `name@realm` of its user; `null` in stock.
    pub user: Option<String>,
    /// The users beside its owner for whom it counts, of those whom the caller sees. Told by lists, with one token or
    /// user, and after a link or its end; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<String>,
    /// What makes its codes.
    pub kind: String,
    /// Where it stands in its life.
    pub state: String,
    /// Hash function; `aes` of a yubikey.
    pub algorithm: String,
    /// Length of its codes.
    pub digits: u8,
    /// What a yubikey types before each OTP, in modhex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_id: Option<String>,
    /// Seconds per code; absent for counters.
    pub period: Option<u16>,
    /// Last used step or counter.
    pub last_step: Option<u64>,
    /// How far its clock is from ours, in steps; absent for counters.
    pub drift: Option<i32>,
    /// Failures attributable to it, and its lock.
    pub lock: Lock,
    /// When a code of it was last accepted.
    pub last_accept: Option<String>,
    /// When a repair or restore of the store closed it, while that has effect: until `refused_until`, or, without that,
    /// until it is resynchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_repaired: Option<String>,
    /// Until when its codes are refused after a repair or restore of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_until: Option<String>,
    /// Where its codes are sent, as far as it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The device that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Codes of the sheet that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes_left: Option<u32>,
    /// From when it is no longer good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Until when its owner's first right code at any front end brings it into use, while it is pending. Absent:
    /// it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_use_until: Option<String>,
    /// The link by which its owner takes the key over, while it is pending: `open`, `used` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Until when that link is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_until: Option<String>,
    /// The token that ends when this one is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Approvals it needs; absent when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals_needed: Option<u8>,
    /// Approvals it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// When the record was made.
    pub created: String,
    /// What `If-Match` compares.
    pub revision: u64,
}

impl Token {
    /// Its user as people are shown it.
    pub fn owner(&self) -> &str {
        self.user.as_deref().unwrap_or("-")
    }
}

/// One approval of a token.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Approval {
    /// Who gave it.
    pub by: String,
    /// In whose name, when not in their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf: Option<String>,
    /// When.
    pub at: String,
}

/// A token just made, with what is shown of it only now: its key, its cells, its codes.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// The key in base 32 (`totp`, `hotp`), or in hexadecimal digits (`yubikey`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What a yubikey has in each OTP: 12 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_id: Option<String>,
    /// For authenticator apps (`totp`, `hotp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otpauth_uri: Option<String>,
    /// The cells of a card, from 1, four digits each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
    /// The codes of a recovery sheet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// What is weak about it.
    pub warnings: Vec<String>,
    /// The rules that accept it today, as `policy:rule (client)`; empty: none.
    #[serde(default)]
    pub accepted_by: Vec<String>,
}

/// How a token is handed out.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// How the code of a `server` token reaches its user: `text`, `qr`, `sms`, `email`; all carry the
    /// same code. `text` and `qr` when absent.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub by: Vec<String>,
    /// Where devices reach this server; `http.public_url` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
}

/// A token that was handed out, with what is shown of it only now.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Offered {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What a device redeems: twelve characters in groups of four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for the device's camera: `https://HOST/app/#...`, the authenticator of the browser, where this server
    /// has an address for people (`http.public_url`); else `oncegate://enroll?...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol_uri: Option<String>,
    /// The key for authenticator apps (`totp`, `hotp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otpauth_uri: Option<String>,
    /// Until when its code is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Where messages with the code go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Recipient>,
    /// The cells of a card, from 1, four digits each; only when it is first handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<String>,
    /// The codes of a recovery sheet; only when it is first handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// The cells of the card by which it is proven: the first digits of one, the last of the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Cells>,
}

/// Where a message goes.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Recipient {
    /// `sms`, `email`, `voice`.
    pub medium: String,
    /// The address, as far as it is shown.
    pub to: String,
}

/// Two cells of a card, from 1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct Cells {
    /// Its first two digits are asked for.
    pub first: u8,
    /// Its last two digits are asked for.
    pub second: u8,
}

/// An approval to be given.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Whose right, when it was lent to the caller: `api:NAME`, `uid N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf: Option<String>,
}

/// A request that is denied.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// Why: the audit has it.
    pub reason: String,
}

/// A token that is ended.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// `lost`, `stolen`, `replaced`, `moved`, `left`, `compromised`, `other` (when absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A token that gets a new end.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Seconds from now; as long as it lasts when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_secs: Option<u64>,
    /// Whether the time before its end does not matter; administrators only.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub force: bool,
}

/// A token that counts for a second user too.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The second user.
    pub user: String,
    /// A code of the token.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub first: SecretString,
    /// The next one.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub second: SecretString,
}

/// A token that is given to a user.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// To whom.
    pub user: String,
    /// In use at once, without a code; administrators only.
    #[serde(default, deserialize_with = "unless_null")]
    #[schema(nullable)]
    pub active: bool,
    /// A code of the token, with `second`.
    #[schema(value_type = Option<String>)]
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    pub first: Option<SecretString>,
    /// The next one.
    #[schema(value_type = Option<String>)]
    #[serde(
        default,
        serialize_with = "in_clear",
        skip_serializing_if = "Option::is_none"
    )]
    pub second: Option<SecretString>,
}

/// A token that counts for its owner only again.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unlink {
    /// The second user.
    pub user: String,
}

/// Which tokens.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TokenPage {
    /// `next` of the page before.
    pub after: Option<String>,
    /// At most this many: 1 to 1000, 100 by default.
    pub limit: Option<usize>,
    /// Only tokens of this user.
    pub user: Option<String>,
    /// Only tokens in this state: `requested`, `pending`, `active`, ...
    pub state: Option<String>,
    /// Only tokens of this kind.
    pub kind: Option<String>,
}

/// A code for `confirm`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The code that the token shows or that was sent, or the answer to a card's cells.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub otp: SecretString,
}

/// Two consecutive codes for `resync`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resync {
    /// The first.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub first: SecretString,
    /// The next.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub second: SecretString,
}

/// A page of tokens.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Tokens {
    /// In order of user and serial.
    pub tokens: Vec<Token>,
    /// `after` of the next page; absent on the last.
    pub next: Option<String>,
    /// Rows that are damaged and so are not in the list: table, key, and what is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

/// The present code of a demonstration token; served in `quickstart` directories only.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DemoCode {
    /// The token.
    pub serial: String,
    /// Its code.
    pub code: String,
    /// Whether it is used up already.
    pub used: bool,
    /// Seconds until the next one.
    pub next_in: u64,
}
