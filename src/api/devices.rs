//! Devices: what they send and are told, and what administrators see of them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::call::{Access, DeviceName, LOOK, OPERATOR, calls};
use crate::api::in_clear;
use crate::secret::SecretString;

calls! {
    /// A user's devices.
    ListDevices = list_devices: GET "/v1/admin/devices" in "devices" for LOOK,
        query DevicesOf,
        200 "All of them, revoked ones too": Devices;

    /// A device.
    ShowDevice = show_device: GET "/v1/admin/devices/{id}" in "devices" for LOOK,
        at DeviceName,
        200 "The device": Device, etag revision;

    /// Gives a device another name.
    RenameDevice = rename_device: PATCH "/v1/admin/devices/{id}" in "devices" for OPERATOR,
        at DeviceName, body DeviceRename,
        200 "The device": Device, etag revision;

    /// Ends a device and its tokens. Its record stays.
    RevokeDevice = revoke_device: DELETE "/v1/admin/devices/{id}" in "devices" for OPERATOR,
        at DeviceName,
        204 "Revoked": ();
}

// What devices ask themselves, each request signed by the device's key.
calls! {
    /// A device redeems an enrolment code, or the transfer code of another device, with its key.
    ///
    /// Signed by the key that is enrolled. A refusal looks the same whatever the cause.
    EnrolDevice = enroll: POST "/v1/device/enroll" in "device" for Access::Device,
        body DeviceEnrol,
        201 "Enrolled": DeviceEnrolled
        => fails(&[
            (400, "Malformed"),
            (401, "Not signed by the key that is sent, or not now"),
            (409, "The code was refused, or something is in the way"),
            (429, "Too many enrolments, from one address or in all"),
            (503, "No decision can be made; nothing was counted"),
        ]);

    /// A new code, for the person's eyes. It voids the one before.
    AskForCode = otp: POST "/v1/device/otp" in "device" for Access::Device,
        optional DeviceCodeWanted,
        200 "The code": DeviceCode;

    /// A code of 12 digits by which another device takes over.
    ///
    /// It takes the place of a live code of the token. When it is redeemed this device is revoked.
    TransferDevice = transfer: POST "/v1/device/transfer" in "device" for Access::Device,
        optional DeviceTokenWanted,
        200 "The code": DeviceCode;

    /// Gives the device's token a new end, within the policy's window before the present one.
    RenewOwnToken = renew: POST "/v1/device/renew" in "device" for Access::Device,
        optional DeviceTokenWanted,
        200 "The token": DeviceToken => fails(&[(409, "Not now")]);

    /// A totp token that the device carries, with its key: its codes need no network.
    ///
    /// The key is in this answer and in no other. Refused where the policy gives devices none, where the
    /// device's first token is not in use, and where it carries one already that is not named.
    CarryTotp = totp: POST "/v1/device/totp" in "device" for Access::Device,
        optional DeviceTotpWanted,
        201 "The token": DeviceTotp => fails(&[(409, "It has one, or the policy gives none")]);

    /// What waits for the user: the device's tokens, and live codes of the user's others.
    ShowPending = pending: GET "/v1/device/pending" in "device" for Access::Device,
        200 "What waits": DevicePending;

    /// The device itself and the others of its user.
    ListOwnDevices = show: GET "/v1/device" in "device" for Access::Device,
        200 "All of them": Devices;

    /// The device gives itself another name.
    RenameOwnDevice = rename: PATCH "/v1/device" in "device" for Access::Device,
        body DeviceRename,
        204 "Done": ();

    /// Ends the device itself or another one of its user, with all tokens that it carries.
    RevokeOwnDevice = revoke: DELETE "/v1/device/{id}" in "device" for Access::Device,
        at DeviceName,
        204 "Revoked": ();
}

/// A device that redeems an enrolment or transfer code.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceEnrol {
    /// `NAME`, `NAME@REALM` or `DOMAIN\NAME`.
    pub user: String,
    /// The enrolment code, 12 characters, or the transfer code of another device, 12 digits; dashes
    /// and blanks do not count.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub code: SecretString,
    /// What the user calls the device: 1 to 256 octets.
    pub name: String,
    /// How its key signs: `ed25519` or `ecdsa-p256-sha256`.
    pub algorithm: String,
    /// Its public key in base64url without padding: 32 octets (Ed25519), or a SEC1 point of 33 or 65.
    pub public_key: String,
}

/// A device just enrolled.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DeviceEnrolled {
    /// Its id, which follows from its key.
    pub device: String,
    /// Its user.
    pub user: String,
    /// What the user calls it.
    pub name: String,
    /// The token that makes its codes.
    pub token: DeviceToken,
}

/// A token that a device carries.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DeviceToken {
    /// Its name.
    pub serial: String,
    /// `server`, `totp`.
    pub kind: String,
    /// Where it stands in its life; `pending`: a first right code, given where it was enrolled, makes it active.
    pub state: String,
    /// From when it is no longer good, if that is known.
    pub expires: Option<String>,
}

/// Which code a device asks for. An empty body asks for one that every client takes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceCodeWanted {
    /// The only client that may be given the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The token that makes it; the one in use when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How the device made sure of its owner: `bio`, `pin` or `none`. The device's word, signed; the
    /// audit has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uv: Option<String>,
}

/// Which token is meant. An empty body means the one in use.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceTokenWanted {
    /// The token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// Which totp token of the device ends. An empty body: it has none.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceTotpWanted {
    /// A totp token that the device carries; it ends when the new one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// A totp token with its key (RFC 6238).
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DeviceTotp {
    /// The token.
    pub token: DeviceToken,
    /// The key in base 32, only now.
    #[schema(value_type = String)]
    #[serde(serialize_with = "in_clear")]
    pub secret: SecretString,
    /// `sha1`, `sha256` or `sha512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: u8,
    /// Seconds that a code lasts.
    pub period: u64,
}

/// A code, for the person's eyes.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DeviceCode {
    /// The code. Good once; a newer one of the same token voids it.
    pub code: String,
    /// The token that made it.
    pub serial: String,
    /// From when it is void, by the server's clock.
    pub expires: String,
    /// Seconds until then.
    pub expires_in: u64,
}

/// What waits for the user.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DevicePending {
    /// The user.
    pub user: String,
    /// The tokens that the device carries.
    pub tokens: Vec<DeviceToken>,
    /// Live codes of the user's other tokens.
    pub codes: Vec<DeviceOpenCode>,
}

/// A live code, without itself.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DeviceOpenCode {
    /// The token whose code it is.
    pub serial: String,
    /// The token's kind.
    pub kind: String,
    /// What the code is for: `code`, `inbound`, `enrol`, `transfer`.
    pub way: String,
    /// Where it was sent, most of it hidden.
    pub to: Option<String>,
    /// From when it is void; absent where it waits until it is answered.
    pub expires: Option<String>,
}

/// A device.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Device {
    /// Its id.
    pub device: String,
    /// Its user.
    pub user: String,
    /// What the user calls it.
    pub name: String,
    /// `active` or `revoked`.
    pub state: String,
    /// How its key signs.
    pub algorithm: String,
    /// When it was enrolled.
    pub created: String,
    /// When it last asked for anything.
    pub last_seen: Option<String>,
    /// Whether it is the one that asks; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub this: Option<bool>,
    /// Rises with every change.
    pub revision: u64,
}

/// A user's devices.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Devices {
    /// In order of id.
    pub devices: Vec<Device>,
}

/// Another name for a device.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRename {
    /// 1 to 256 octets without control characters.
    pub name: String,
}

/// Whose devices.
#[derive(Clone, Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DevicesOf {
    /// `NAME`, `NAME@REALM` or `DOMAIN\NAME`.
    pub user: String,
}
