//! Enrolment by a link: no administrator sees the key.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{Access, OPERATOR, UserName, calls};
use crate::api::{Recipient, in_clear, unless_null};
use crate::secret::SecretString;

calls! {
    /// Makes a link by which a user enrols a `totp` token: shown here, or sent by mail or SMS.
    ///
    /// A user whose last link was not used gets another one for the same token; the link before is void. The
    /// messages have left when the answer comes: `failed` says which have not.
    EnrolByLink = enrol_by_link: POST "/v1/admin/users/{user}/enrol-link" in "tokens" for OPERATOR,
        at UserName, optional LinkWanted,
        201 "Made": EnrolLinked;

    /// The page of an enrolment link.
    EnrolPage = enrol_page: GET "/enrol" in "enrolment" for Access::Open,
        200 "HTML": String => media(&["text/html"]);

    /// The script of that page.
    EnrolScript = enrol_script: GET "/enrol.js" in "enrolment" for Access::Open,
        200 "JavaScript": String => media(&["text/javascript"]);

    /// Its style sheet.
    EnrolStyle = enrol_style: GET "/enrol.css" in "enrolment" for Access::Open,
        200 "CSS": String => media(&["text/css"]);

    /// Takes the key of a token over by the code of a link, once.
    ///
    /// What is no code of a link that is open is answered alike, whatever the cause.
    RedeemLink = redeem_link: POST "/enrol/redeem" in "enrolment" for Access::Link,
        body LinkRedeem,
        200 "The key": LinkRedeemed => fails(&[(409, "No link that is open")]);

    /// Takes an enrolment code for a device instead, once: for the authenticator of the browser.
    ///
    /// The token of the link ends; the device will carry a server token of its own.
    RedeemLinkByDevice = redeem_link_by_device: POST "/enrol/device" in "enrolment" for Access::Link,
        body LinkRedeem,
        200 "The code": LinkForDevice
        => fails(&[(403, "The policy has no codes of devices"), (409, "No link that is open")]);

    /// Proves the token by its first right code, within an hour of taking it over.
    ConfirmLink = confirm_link: POST "/enrol/confirm" in "enrolment" for Access::Link,
        body LinkConfirm,
        200 "Active": LinkConfirmed => fails(&[(409, "No link that was used, or a wrong code; or the token cannot come into use")]);
}

/// How a link is made and sent.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkWanted {
    /// How it reaches its user: `link` (it is in the answer), `email`, `sms`. `link` when absent.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(nullable)]
    pub deliver: Vec<String>,
    /// Whose `[enrolment]` applies; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Seconds for which the link is good; `first_use_within` of the policy when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_secs: Option<u64>,
    /// Where people reach this server; `http.public_url` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<String>,
    /// Whether it is only to be said whether a link could be made, and until when it would be good.
    #[serde(
        default,
        deserialize_with = "unless_null",
        skip_serializing_if = "std::ops::Not::not"
    )]
    #[schema(nullable)]
    pub dry_run: bool,
}

/// A link that was made.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EnrolLinked {
    /// The token; empty where `dry_run` made none.
    pub serial: String,
    /// Canonical `name@realm` of its user.
    pub user: String,
    /// The link, where it was asked for: who has it enrols as the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Until when it is good.
    pub until: String,
    /// Where it went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Recipient>,
    /// Where it did not go, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// The code of a link.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRedeem {
    /// The token that the link names.
    pub serial: String,
    /// Its code: 25 characters.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub code: SecretString,
}

/// The key of a token, shown only now.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LinkRedeemed {
    /// The token.
    pub serial: String,
    /// What the authenticator shows: the organisation.
    pub issuer: String,
    /// What the authenticator shows: the account.
    pub account: String,
    /// `pending` or `active`.
    pub state: String,
    /// Whether it counts only after a first code on the page.
    pub must_confirm: bool,
    /// Until when the first right code at any login activates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_use_until: Option<String>,
    /// For authenticator apps.
    pub otpauth_uri: String,
    /// The key in base 32, to be typed.
    pub secret: String,
    /// The QR code of `otpauth_uri`: modules of a side, the quiet zone included.
    pub qr_side: usize,
    /// Its dark modules, as the `d` of an SVG path.
    pub qr_path: String,
}

/// An enrolment code for a device, shown only now.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LinkForDevice {
    /// The token that the device will carry.
    pub serial: String,
    /// Canonical `name@realm` of its user.
    pub user: String,
    /// What the device redeems: twelve characters in groups of four.
    pub code: String,
    /// Seconds for which it is good.
    pub expires_in: u64,
    /// Whether the token is not in use before the device's first code was typed on the page of the link, or an
    /// administrator confirmed it.
    pub must_confirm: bool,
    /// Where a telephone redeems it.
    pub enrol_uri: String,
    /// The QR code of `enrol_uri`: modules of a side, the quiet zone included.
    pub qr_side: usize,
    /// Its dark modules, as the `d` of an SVG path.
    pub qr_path: String,
}

/// The first code of a token that was taken over.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkConfirm {
    /// The token.
    pub serial: String,
    /// The code of the link.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub code: SecretString,
    /// What the authenticator shows.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub otp: SecretString,
}

/// A token that is in use.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LinkConfirmed {
    /// The token.
    pub serial: String,
    /// `active`.
    pub state: String,
}
