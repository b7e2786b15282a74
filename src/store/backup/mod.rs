//! Backups: rows and journal records of one moment, sealed, in one stream.
//!
//! ```text
//! "OGBAK1\r\n" | length (4) | header, JSON in the clear
//! frames: 'P' or 'L' | items so far (8) | length (4) | sealed part of the item stream
//! items:  tag (1) | length (4) | body
//!   1 file     a policy, a template, oncegate.toml: name, NUL, octets
//!   2 slots    keys of personal data, each still sealed: number of the first (8) | octets
//!   3 begin    anchor, applied, latest time
//!   4 row      table (1) | length of the key (4) | key | value
//!   5 record   number (8) | MAC (32) | entry
//!   6 end      counts of the above
//! ```
//!
//! All numbers are big-endian. A frame is sealed by the store's data key for its place: the SHA-256 of the header,
//! its number, the items so far, and whether it is the last one. So nothing can be changed, exchanged, left out, added or
//! cut off unnoticed. The header holds the data key, which the master key opens: a backup is of no use without that.
//!
//! An incremental backup (format 2) goes on from another one: it holds no rows, and the records behind the head of that
//! one, to which its first record is linked. Files and keys of personal data are in it as a whole. It is restored with
//! those before it, in order.
//!
//! Rows are those of `main.redb` as of the record `applied`, or newer; records follow `anchor` up to the head of the
//! journal when the backup began, and carry the rows forward. The form is that of rows and records, not of the files
//! that hold them here, so that it outlives those.

use std::io;

use serde::{Deserialize, Serialize};

use crate::store::StoreError;
use crate::store::journal::{Head, Record};
use crate::store::record::Table;

mod frame;
mod later;
mod restore;
mod take;

pub use frame::Scan;
pub use restore::{Restore, Restored, restore};

/// A file of the installation that goes with a backup: its name relative to the directory, and its octets.
pub type SiteFile = (String, Vec<u8>);

/// What a backup says about itself in the clear.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Header {
    /// Format of what follows.
    pub format: u8,
    /// What wrote it.
    pub program: String,
    /// Its own id.
    pub backup: String,
    /// The id of the store.
    pub store: String,
    /// When it was begun.
    pub created: String,
    /// The store's data key, sealed by the master key; base64.
    pub data_key: String,
    /// The first record that it holds.
    pub first: u64,
    /// The last one.
    pub head: u64,
    /// Rows and records.
    pub items: u64,
    /// MAC of the last record, hexadecimal; absent in backups of version 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_mac: Option<String>,
    /// The backup that it goes on from; absent where it is whole by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl Header {
    /// Reads what a backup says about itself; nothing of it is proven.
    pub fn read(mut backup: impl io::Read) -> Result<Self, BackupError> {
        Ok(frame::Opening::read(&mut backup)?.header)
    }
}

/// The backup that another one goes on from.
#[derive(Clone, Debug)]
pub struct Since {
    /// Its id.
    pub backup: String,
    /// The id of its store.
    pub store: String,
    /// The last record in it.
    pub head: u64,
    /// The MAC of that record.
    pub mac: [u8; 32],
}

/// What a backup holds.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// What it says about itself.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Records.
    pub records: u64,
    /// Octets that were written.
    pub octets: u64,
}

/// Why a backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("this is no backup of oncegate")]
    NotABackup,
    /// A newer version wrote it.
    #[error(
        "the backup has format {found}, this version reads up to {known}; run the version that wrote it, or a newer one"
    )]
    NewerFormat {
        /// Of the backup.
        found: u8,
        /// Newest that this version reads.
        known: u8,
    },
    /// The master key is not the one of its store.
    #[error(
        "the backup is of another installation, or of before its master key was exchanged: the master key does not open it (store {store}, made {created})"
    )]
    OtherInstallation {
        /// The store's id, as the header has it.
        store: String,
        /// When it was made, as the header has it.
        created: String,
    },
    /// Octets were changed.
    #[error("the backup is not as it was written, from octet {offset} on")]
    Altered {
        /// Where the first frame begins that does not open.
        offset: u64,
    },
    /// The end is missing.
    #[error("the backup is cut short: it ends at octet {offset}")]
    CutShort {
        /// Its length.
        offset: u64,
    },
    /// Something follows the end.
    #[error("the backup is longer than it was written: its end is at octet {offset}")]
    Longer {
        /// Where it should end.
        offset: u64,
    },
    /// `--at` names a record that it cannot be restored at.
    #[error("the backup can be restored at the records {first} to {last}, not at {wanted}")]
    NoSuchRecord {
        /// Asked for.
        wanted: u64,
        /// The first possible one.
        first: u64,
        /// The last possible one.
        last: u64,
    },
    /// Several were named that are not one behind the other.
    #[error("{0}")]
    Chain(String),
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Read(io::Error),
    /// The new store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where rows and records of a backup stand.
#[derive(Clone, Copy, Debug)]
struct Begin {
    /// Before the first record.
    anchor: Head,
    /// The record up to which the rows hold everything.
    applied: Head,
    /// The latest time in any record up to that one, in milliseconds.
    high_water: u64,
}

/// How many items there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    rows: u64,
    records: u64,
}

/// A piece of a backup.
enum Item {
    File(SiteFile),
    Slots {
        first: u64,
        octets: Vec<u8>,
    },
    Begin(Begin),
    Row {
        table: Table,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Record(Record),
    End(Counts),
}

const FILE: u8 = 1;
const SLOTS: u8 = 2;
const BEGIN: u8 = 3;
const ROW: u8 = 4;
const RECORD: u8 = 5;
const END: u8 = 6;

impl Item {
    /// Reads an item; `None` when its body is not of its tag.
    fn read(tag: u8, body: &[u8]) -> Option<Self> {
        let (number, rest) = match tag {
            SLOTS | RECORD => body.split_first_chunk::<8>()?,
            _ => (&[0; 8], body),
        };
        let number = u64::from_be_bytes(*number);
        match tag {
            FILE => {
                let end = body.iter().position(|octet| *octet == 0)?;
                let (name, octets) = body.split_at(end);
                let name = String::from_utf8(name.to_vec()).ok()?;
                Some(Self::File((name, octets.get(1..)?.to_vec())))
            }
            SLOTS => Some(Self::Slots {
                first: number,
                octets: rest.to_vec(),
            }),
            BEGIN => {
                let (anchor, rest) = head(body)?;
                let (applied, rest) = head(rest)?;
                let high_water = u64::from_be_bytes(rest.try_into().ok()?);
                Some(Self::Begin(Begin {
                    anchor,
                    applied,
                    high_water,
                }))
            }
            ROW => {
                let (table, rest) = body.split_first()?;
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (key, value) = rest.split_at_checked(length)?;
                Some(Self::Row {
                    table: *Table::ALL.get(usize::from(*table))?,
                    key: key.to_vec(),
                    value: value.to_vec(),
                })
            }
            RECORD => {
                let (mac, entry) = rest.split_first_chunk::<32>()?;
                Some(Self::Record(Record {
                    seq: number,
                    mac: *mac,
                    body: entry.to_vec(),
                }))
            }
            END => {
                let (rows, rest) = body.split_first_chunk::<8>()?;
                Some(Self::End(Counts {
                    rows: u64::from_be_bytes(*rows),
                    records: u64::from_be_bytes(rest.try_into().ok()?),
                }))
            }
            _ => None,
        }
    }
}

fn head(octets: &[u8]) -> Option<(Head, &[u8])> {
    let (seq, rest) = octets.split_first_chunk::<8>()?;
    let (mac, rest) = rest.split_first_chunk::<32>()?;
    let seq = u64::from_be_bytes(*seq);
    Some((Head { seq, mac: *mac }, rest))
}

/// The format of a backup that is whole by itself, and of its frames.
const FORMAT: u8 = 1;
/// The format of one that goes on from another: the newest one.
const INCREMENTAL: u8 = 2;
