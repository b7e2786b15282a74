//! Devices: what they send and are told, and what administrators see of them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::secret::SecretString;

/// A device that redeems an enrolment or transfer code.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceEnrol {
    /// `NAME`, `NAME@REALM` or `DOMAIN\NAME`.
    pub user: String,
    /// The enrolment code, 12 characters, or the transfer code of another device, 12 digits; dashes
    /// and blanks do not count.
    #[schema(value_type = String)]
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
    /// `server`, `push`.
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
