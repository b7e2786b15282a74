//! How long searches of a long trail take, for the page `storage` of the manual:
//! `ONCEGATE_RECORDS=20000000 cargo test --release --lib -- --ignored --nocapture measure_searches`.
//!
//! The records are those of logins, written to the journal as the writer does, without the rows: so some hundred
//! thousand a second are made, and 100 million need 40 GB and a quarter of an hour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::audit::{ChangeEvent, Channel, DecisionEvent, Event, Origin, Purpose};
use crate::model::id::RequestId;
use crate::model::reason::{Decision, Reason};
use crate::model::sealing::SealAlgorithm;
use crate::secret::{Key256, SystemEntropy};
use crate::store::fold::Fold;
use crate::store::journal::{self, Batch};
use crate::store::medium::Directory;
use crate::store::record::Entry;
use crate::store::{AuditQuery, Parts, Store};
use crate::time::{FixedClock, UnixTime};

const USERS: u64 = 100_000;
const CLIENTS: u64 = 200;
/// Milliseconds between records.
const APART: u64 = 300;
const BEGIN: UnixTime = UnixTime::from_secs(1_700_000_000);
const SEGMENT: u64 = 64 << 20;
/// Records of a commit.
const TOGETHER: u64 = 64;

fn key() -> Key256 {
    Key256::new([7; 32])
}

fn at(number: u64) -> UnixTime {
    BEGIN.plus(Duration::from_millis(number * APART))
}

fn opened(dir: &std::path::Path, records: u64) -> Store {
    Store::open(Parts {
        medium: Arc::new(Directory::new(dir)),
        master: key(),
        algorithm: SealAlgorithm::default(),
        clock: Arc::new(FixedClock::at(at(records))),
        entropy: Arc::new(SystemEntropy),
        segment_size: SEGMENT,
        checkpoint: Duration::from_secs(5),
    })
    .unwrap()
}

/// Spreads numbers (`SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// What became of a login.
fn outcome(lot: u64, rare: bool) -> (Decision, Reason) {
    match (lot >> 32) & 0xff {
        _ if rare => (Decision::Reject, Reason::Locked),
        0..16 => (Decision::Reject, Reason::WrongCode),
        16..20 => (Decision::Reject, Reason::UsedCode),
        _ => (Decision::Accept, Reason::TotpOk),
    }
}

/// One in ten thousand is a change. Two logins are of a user, a NAS and a client who are in no other, one change is of
/// such an administrator.
fn entry(number: u64, records: u64) -> Entry {
    let lot = mixed(number);
    let octets = lot.to_be_bytes();
    let mut unique = [0; 10];
    unique[..8].copy_from_slice(&octets);
    let request = RequestId::new(at(number), unique);
    let rare = [records / 7, records / 2, records / 7 * 6].map(|number| number | 1);
    let rare = rare.contains(&number);
    let event = if number.is_multiple_of(10_000) || (rare && number > records / 2) {
        let who = if rare { "lee" } else { "kim" };
        Event::Change(ChangeEvent {
            request,
            actor: format!("{who}(uid 1000)"),
            action: "user_set".to_owned(),
            target: format!("user{:06}@default", lot % USERS),
            user: Some(format!("user{:06}@default", lot % USERS)),
            detail: None,
        })
    } else {
        let (decision, reason) = outcome(lot, rare);
        let client = (lot >> 40) % CLIENTS;
        let (user, client, nas) = if rare {
            (
                "rare@default".to_owned(),
                "rare".to_owned(),
                "rare-1".to_owned(),
            )
        } else {
            (
                format!("user{:06}@default", lot % USERS),
                format!("vpn-{client}"),
                format!("gate-{client}"),
            )
        };
        Event::Decision(DecisionEvent {
            request,
            purpose: Purpose::Login,
            decision,
            reason,
            user,
            serial: Some("TOTP-7F3K9Q2M".parse().unwrap()),
            step: Some(at(number).as_millis() / 30_000),
            client: client.into(),
            channel: Channel::Radius,
            source: Some([198, 51, octets[1], octets[2]].into()),
            rule: Some("default:everybody".into()),
            method: "pap".into(),
            origin: Some(Arc::new(Origin {
                nas: Some(nas.into()),
                nas_ip: Some([192, 0, 2, octets[0]].into()),
                calling_station: Some("198.51.100.7".into()),
            })),
            waiver: None,
            // In the place of the rows that a login writes.
            note: Some("x".repeat(160)),
            failures: 0,
            locked: false,
            latency: 1,
        })
    };
    Entry {
        at: at(number),
        event,
        changes: Vec::new(),
        writes: Vec::new(),
    }
}

fn make(dir: &std::path::Path, records: u64) {
    drop(opened(dir, 0));
    let medium = Arc::new(Directory::new(dir));
    let (_fold, sealer) = Fold::open(
        Arc::<Directory>::clone(&medium),
        &key(),
        SealAlgorithm::default(),
        &SystemEntropy,
    )
    .unwrap();
    let (journal, mut appender) = journal::open(medium, sealer, SEGMENT).unwrap();
    appender.settle().unwrap();
    let mut batch = Batch::default();
    for number in 0..records {
        batch.push(&entry(number, records)).unwrap();
        if batch.len() as u64 == TOGETHER || number + 1 == records {
            appender.append(appender.head(), &mut batch).unwrap();
            batch.clear();
            if appender.wants_file() {
                journal.prepare().unwrap();
            }
        }
    }
    appender.flush().unwrap();
}

/// What is asked for, and how many records of it there are at least.
fn queries(records: u64) -> Vec<(&'static str, usize, AuditQuery)> {
    let all = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let user = |name: &str| AuditQuery {
        user: Some(format!("{name}@default")),
        ..all.clone()
    };
    let client = |name: &str| AuditQuery {
        client: Some(name.to_owned()),
        ..all.clone()
    };
    let nas = |name: &str| AuditQuery {
        nas: Some((name.to_owned(), Vec::new())),
        ..all.clone()
    };
    let actor = |name: &str| AuditQuery {
        actor: Some(name.to_owned()),
        ..all.clone()
    };
    let reason = |reason, with: AuditQuery| AuditQuery {
        reason: Some(reason),
        ..with
    };
    let middle = AuditQuery {
        since: Some(at(records / 3)),
        until: Some(at(records / 3 + 12_000)),
        ..all.clone()
    };
    let hour = AuditQuery {
        since: middle.since,
        until: middle.until,
        ..user("user004711")
    };
    let usual = usize::try_from(records / USERS / 2).unwrap().min(100);
    vec![
        ("the newest", 100, all.clone()),
        ("a user, the newest 100", usual, user("user004711")),
        ("a user with two records", 2, user("rare")),
        ("no such user", 0, user("none")),
        ("a client", 100, client("vpn-17")),
        ("a client with two records", 2, client("rare")),
        ("a reason", 100, reason(Reason::WrongCode, all.clone())),
        ("a rare reason", 2, reason(Reason::Locked, all.clone())),
        ("a NAS", 100, nas("gate-17")),
        ("a NAS with two records", 2, nas("rare-1")),
        ("an administrator", 10, actor("kim")),
        ("an administrator with one record", 1, actor("lee")),
        ("an hour, a third from the beginning", 100, middle),
        ("a user in that hour", 0, hour),
        (
            "a user and a reason",
            0,
            reason(Reason::UsedCode, user("user004711")),
        ),
        (
            "a client and a reason that it never had",
            0,
            reason(Reason::Locked, client("vpn-17")),
        ),
    ]
}

#[tokio::test]
#[ignore = "a measurement of some minutes"]
async fn measure_searches() {
    let records = std::env::var("ONCEGATE_RECORDS");
    let records: u64 = records.map_or(1_000_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    make(dir.path(), records);
    println!("made {records} records in {:?}", began.elapsed());
    let began = Instant::now();
    let store = opened(dir.path(), records);
    println!("opened in {:?}", began.elapsed());
    let began = Instant::now();
    while !store.reading.journal.is_indexed() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // That of the newest segment, too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let size = |begin: &str| -> u64 {
        let files = std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let those = files.filter(|file| file.file_name().to_string_lossy().starts_with(begin));
        those.map(|file| file.metadata().unwrap().len()).sum()
    };
    println!(
        "indexes in {:?}: {} MB of {} MB",
        began.elapsed(),
        size("index-") >> 20,
        size("log-") >> 20
    );
    for (what, least, query) in queries(records) {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let found = store.audit(query.clone()).await.unwrap();
            times.push(began.elapsed());
            assert!(found.len() >= least, "{what}: {} found", found.len());
        }
        let then = times[1..].iter().max().unwrap();
        println!("{what}: {:?}, then {then:?}", times[0]);
    }
}
