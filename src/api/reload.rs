//! What reading the files again did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a reload did, part by part.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Reload {
    /// Whether every part was taken.
    pub ok: bool,
    /// What was read.
    pub parts: Vec<ReloadPart>,
    /// What was changed in the configuration and takes a restart.
    pub restart: Vec<NeedsRestart>,
}

impl Reload {
    /// The parts that were not taken, and why; `None` when all were.
    pub fn refused(&self) -> Option<String> {
        let refused = self.parts.iter().filter(|part| !part.faults.is_empty());
        let refused = refused.map(|part| format!("{}: {}", part.name, part.faults.join("; ")));
        let refused: Vec<String> = refused.collect();
        (!refused.is_empty()).then(|| refused.join("; "))
    }
}

/// One part: taken, or as it was before.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReloadPart {
    /// `configuration`, `dictionary`, `policies`, `tables`, `texts`, `certificate`, `EAP certificate`, `RADIUS certificate`,
    /// `gateways`, `inbound secret`, `log level`; `files`: those that are read at the start only, where one is no good.
    pub name: String,
    /// Why what was in use stays, with file and line; empty when the part was taken.
    pub faults: Vec<String>,
}

/// A key of the configuration that is not read again.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct NeedsRestart {
    /// Its path.
    pub key: String,
    /// The value in use.
    pub running: String,
    /// The option of `serve` that says otherwise than the configuration: a start without it is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    /// The value that is written now.
    pub written: String,
    /// Where: file and line, a variable, or `default`.
    pub origin: String,
}
