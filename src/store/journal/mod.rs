//! The journal: append-only, MAC-chained records. It is the audit trail and the truth; all rows are its fold.
//!
//! # Interface
//!
//! Everything else in the store knows records and heads, not files: [`Appender::append`] behind an expected
//! head, [`Journal::read_after`] it, [`Journal::anchor`] before the first record kept, [`Journal::prune`].
//! An append behind another head than the expected one appends nothing ([`Appended::Behind`]): what was
//! decided on rows up to that head may not hold any more. So one journal can be shared by several
//! processes where it lies in a database; the one here is in files, and one process has them.
//!
//! # Files
//!
//! A segment is a file `log-SEQ.log`, named by the number of its first record: a page that holds the MAC before
//! that record, then one frame for each commit ([`frames`]). Only the newest one is written. Its octets
//! are written with zeros before it is begun ([`spare`]), so that a commit is one write and one flush, and
//! changes no file's size; the file of the next one is made ready in the background.
//!
//! What a commit left that was not made whole is written over when the store is opened; a frame in the middle
//! that is not whole is damage, and named by the number of its first record. Whether a broken frame at the
//! very end is the one or the other, the acknowledged head says.
//!
//! Version 0.1.0 kept segments in files of the engine redb ([`former`]). They are read and pruned as others,
//! and never written again.
//!
//! `MAC(n) = HMAC-SHA-256(audit key, MAC(n-1) | n | entry)`: anyone who cannot read the master key can
//! neither change, drop, swap nor insert a record unnoticed (threats T35). Records missing at the
//! end are noticed against the checkpoint (see [`crate::store::fold`]) and the acknowledged head (see
//! [`acknowledged`]).
//!
//! Numbers found in a file bound no loop: [`Journal::read`] and [`Journal::read_back`] give records whose numbers
//! follow each other, and at least one or an end, so that whatever walks the log walks what is there.
//!
//! Beside a closed segment lies an index of what it holds ([`index`]), for searches; that of the newest one grows in
//! memory ([`growing`]).
//!
//! Old segments may be pruned. That is a change like others: its record is in the chain, and with it
//! goes a row that names the link before the first record that stays, marked with a key of the store.
//! Without that row a missing segment is a fault; pruning does not go unseen.

mod acknowledged;
mod append;
mod find;
mod former;
mod frame;
mod frames;
mod growing;
mod head;
mod index;
mod indexes;
mod read;
mod record;
mod segment;
mod spare;

pub(crate) use append::{Appended, Appender, begin, create, open, open_for_repair};
pub(crate) use find::Part;
pub(crate) use frame::Batch;
pub(crate) use head::Head;
pub(crate) use index::Search;
pub(crate) use read::{Journal, Pruned, is_of_the_end};
pub(crate) use record::Record;
pub(crate) use segment::is_segment;
