//! The keys of the store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::call::{ADMIN, AUDITOR, calls};

calls! {
    /// Which keys the store has, and since when.
    ShowKeys = show_keys: GET "/v1/admin/keys" in "operation" for AUDITOR,
        200 "The keys; none of them is shown": StoreKeys;

    /// Makes a new master key, and seals the data key by it.
    ///
    /// The new key takes the place of the file that `keys.master` names, and the former one stays beside it:
    /// backups that were made before need that. Decisions go on meanwhile. Where the master key comes from the
    /// environment or from a systemd credential, only `oncegate key rotate --to FILE` on a stopped daemon does it.
    RotateMaster = rotate_master: POST "/v1/admin/keys/rotate" in "operation" for ADMIN,
        200 "Done, and where the keys are": MasterRotated
        => fails(&[(409, "The master key is not in a file, or is being exchanged")]);

    /// Makes a new data key, by which secrets are sealed from now on.
    ///
    /// What was sealed before is sealed again in the background, some rows at a time; both keys open what they sealed
    /// meanwhile, and after an interruption it goes on by itself. `GET /v1/admin/keys` shows how far it is.
    RotateData = rotate_data: POST "/v1/admin/keys/data/rotate" in "operation" for ADMIN,
        200 "Begun": DataRotated
        => fails(&[(409, "An exchange is under way, or a backup is being made")]);
}

/// The keys of the store.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StoreKeys {
    /// Where the master key comes from: `file:PATH`, `env:NAME` or `credential:NAME`.
    pub master: String,
    /// Since when it is in use; absent where it is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_since: Option<String>,
    /// Whether it was ever exchanged.
    pub master_exchanged: bool,
    /// What seals secrets from now on.
    pub algorithm: String,
    /// Since when the data key seals, since the store was made for the first one; absent where that is not known any
    /// more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_since: Option<String>,
    /// Number of the data key that seals; the first one is 0.
    #[serde(default)]
    pub data_number: u8,
    /// Secrets that it seals already; absent where it seals all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sealed: Option<u64>,
    /// All secrets; absent with `data_sealed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_secrets: Option<u64>,
    /// When the last backup was made, which the master key of that time opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,
}

/// A master key that was exchanged.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct MasterRotated {
    /// The file with the new key.
    pub file: String,
    /// The file with the former one; absent where it is not in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// Since when.
    pub since: String,
}

/// A data key that was exchanged.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DataRotated {
    /// Its number.
    pub number: u8,
    /// Since when.
    pub since: String,
}
