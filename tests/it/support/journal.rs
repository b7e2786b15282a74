//! The journal's files as anyone sees them who can write to the disk and has no key.

use std::collections::BTreeMap;
use std::ops::Range;

use oncegate::store::medium::{Medium as _, Memory};
use redb::TableDefinition;

/// Where a frame lies in its file, and which records it holds.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) place: Range<usize>,
    pub(crate) first: u64,
    pub(crate) count: u32,
}

/// The frames of a file, one behind the other.
pub(crate) fn frames(file: &[u8]) -> Vec<Frame> {
    let (mut frames, mut at) = (Vec::new(), PAGE);
    while file.get(at..at + 4) == Some(b"OGF1") {
        let length = usize::try_from(word(file, at + 4)).unwrap();
        let end = (at + HEADER + length).next_multiple_of(8);
        frames.push(Frame {
            place: at..end,
            first: u64::from_le_bytes(file[at + 12..at + 20].try_into().unwrap()),
            count: word(file, at + 20),
        });
        at = end;
    }
    frames
}

/// The frame that holds a record.
pub(crate) fn frame_of(file: &[u8], seq: u64) -> Frame {
    let holds = |frame: &Frame| (frame.first..frame.first + u64::from(frame.count)).contains(&seq);
    frames(file).into_iter().find(holds).expect("the record")
}

/// Number and `MAC | entry` of the records of a frame.
pub(crate) fn values(file: &[u8], frame: &Frame) -> Vec<(u64, Vec<u8>)> {
    let mut at = frame.place.start + HEADER;
    (frame.first..frame.first + u64::from(frame.count))
        .map(|seq| {
            let length = usize::try_from(word(file, at)).unwrap();
            let value = file[at + 4..at + 4 + length].to_vec();
            at += 4 + length;
            (seq, value)
        })
        .collect()
}

/// Changes a frame and puts its checksum right, which takes no key.
pub(crate) fn forge(file: &mut [u8], frame: &Frame, change: impl FnOnce(&mut [u8])) {
    let octets = &mut file[frame.place.clone()];
    let length = usize::try_from(word(octets, 4)).unwrap();
    let sum = |octets: &[u8]| {
        let sum = crc32c::crc32c(&octets[..8]);
        crc32c::crc32c_append(sum, &octets[12..HEADER + length])
    };
    let (crc, before) = (word(octets, 8), sum(octets));
    change(octets);
    // A checksum is linear: what it begins with need not be known.
    let crc = crc ^ before ^ sum(octets);
    octets[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// These files of a store as version 0.1.0 would have left them: the journal in files of redb.
pub(crate) fn former(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let is_log = |name: &String| name.starts_with("log-");
    let logs: Vec<String> = files.keys().filter(|name| is_log(name)).cloned().collect();
    for log in logs {
        let file = files.remove(&log).unwrap();
        let medium = Memory::default();
        let db = medium.open("log", &redb::Builder::new()).unwrap();
        let write = db.begin_write().unwrap();
        let mut anchor = write.open_table(ANCHOR).unwrap();
        anchor.insert(0, &file[20..52]).unwrap();
        drop(anchor);
        let mut table = write.open_table(LOG).unwrap();
        for frame in frames(&file) {
            for (seq, value) in values(&file, &frame) {
                table.insert(seq, value.as_slice()).unwrap();
            }
        }
        drop(table);
        write.commit().unwrap();
        drop(db);
        let written = medium.raw("log").unwrap();
        let mut octets = vec![0; usize::try_from(written.len().unwrap()).unwrap()];
        written.read(0, &mut octets).unwrap();
        files.insert(log.replace(".log", ".redb"), octets);
    }
    files
}

fn word(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(octets[at..at + 4].try_into().unwrap())
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log_v1");
const ANCHOR: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("anchor_v1");
const PAGE: usize = 4096;
const HEADER: usize = 24;
