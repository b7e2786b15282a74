//! Every file of the manifest, one after the other into one installation by the command line.
//!
//! The other side is the manifest itself, with the rules of a person: a key belongs to one token. A token that is
//! there as the file describes it is there; a key that is another's, or makes other codes, is refused with the line
//! of the file and the serial of the token that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::daemon::Site;

/// A token of the manifest.
#[derive(Clone, Debug)]
struct Row {
    user: String,
    serial: String,
    /// Kind, algorithm, digits; and the period of what counts time.
    codes: [String; 4],
    key: String,
}

fn manifest() -> Vec<(String, Vec<Row>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imports/MANIFEST.tsv");
    let text = fs::read_to_string(path).unwrap();
    let mut files: Vec<(String, Vec<Row>)> = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, user, serial, kind, algorithm, digits, moves, key] = fields[..] else {
            panic!("{line}");
        };
        let period = match (kind, moves) {
            ("totp", "(asked)") => "30",
            ("totp", moves) => moves,
            _ => "",
        };
        // A yubikey's key is known with its private id behind it.
        let private = moves.strip_prefix("private ").unwrap_or_default();
        let row = Row {
            user: user.to_owned(),
            serial: if serial == "(made)" { "-" } else { serial }.to_uppercase(),
            codes: [kind, algorithm, digits, period].map(str::to_owned),
            key: format!("{key}{private}"),
        };
        match files.last_mut().filter(|(name, _)| name == file) {
            Some((_, rows)) => rows.push(row),
            None => files.push((file.to_owned(), vec![row])),
        }
    }
    files
}

/// What a person expects of each row.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Expected {
    tokens: u64,
    there: u64,
    /// Refused by what stands in the file alone, or by what is on record.
    refused: u64,
}

/// The tokens by their keys.
type Known = BTreeMap<String, Row>;

fn expected(rows: &[Row], known: &mut Known) -> Expected {
    let mut expected = Expected::default();
    let mut seen: Vec<&str> = Vec::new();
    for row in rows {
        let twice = seen.contains(&row.key.as_str());
        seen.push(&row.key);
        let Some(first) = known.get(&row.key) else {
            // The first of a file is made.
            known.insert(row.key.clone(), row.clone());
            expected.tokens += 1;
            continue;
        };
        let own = first.user == row.user;
        let unowned = row.user == "-";
        let named = row.serial == "-" || row.serial == first.serial;
        let there = first.codes == row.codes && if unowned { named } else { own };
        if there && !twice {
            expected.there += 1;
        } else {
            expected.refused += 1;
        }
    }
    expected
}

fn import(site: &Site, file: &str, more: &[&str]) -> (i32, Value, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/imports")
        .join(file);
    let key = match file {
        "pskc-aes128-psk.xml" => "12345678901234567890123456789012\n",
        "pskc-pbkdf2.xml" => "qwerty\n",
        _ => "",
    };
    let mut words = vec!["--json", "token", "import", path.to_str().unwrap()];
    if !key.is_empty() {
        words.push("--key-stdin");
    }
    if file.starts_with("feitian") {
        words.extend(["--period", "30"]);
    }
    words.extend(more);
    let output = site.run_with(&words, key);
    let said = String::from_utf8(output.stderr).unwrap();
    let done = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), done, said)
}

/// Rows that a file has beside those of the manifest: they are no tokens of ours.
fn others(file: &str) -> u64 {
    match file {
        "aegis.json" | "safenet.xml" | "yubico-traditional.csv" => 1,
        _ => 0,
    }
}

/// A site with the users of these rows.
fn site_of(rows: &[Row]) -> Site {
    let site = Site::new();
    let users: BTreeSet<&str> = rows.iter().map(|row| row.user.as_str()).collect();
    for user in users.into_iter().filter(|user| *user != "-") {
        site.json(&["user", "add", user]);
    }
    site
}

/// By itself: of the tokens of one key the first is made.
#[test]
fn every_file_alone_gives_what_its_manifest_says() {
    for (file, rows) in manifest() {
        let site = site_of(&rows);
        let mut known = Known::new();
        let wanted = expected(&rows, &mut known);
        let (exit, done, said) = import(&site, &file, &["--skip-bad"]);
        assert_eq!(
            (exit, done["tokens"].as_u64()),
            (0, Some(wanted.tokens)),
            "{file}: {said}"
        );
        assert_eq!(
            done["bad"].as_u64(),
            Some(wanted.refused + others(&file)),
            "{file}: {said}"
        );
        has_made(&site, &known);
    }
}

#[test]
fn every_file_gives_what_its_manifest_says_apart_from_what_is_there() {
    let files = manifest();
    assert!(files.len() >= 18, "{}", files.len());
    let rows: Vec<Row> = files.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let site = site_of(&rows);
    let mut known = Known::new();
    // The second time nothing is new.
    for round in 0..2 {
        for (file, rows) in &files {
            let wanted = expected(rows, &mut known);
            if round > 0 {
                assert_eq!(wanted.tokens, 0, "{file}");
            }
            let (exit, done, said) = import(&site, file, &["--skip-bad"]);
            let count = |name: &str| done[name].as_u64().unwrap_or_default();
            if wanted.tokens + wanted.there == 0 {
                // All of it is refused: then that is the answer.
                assert_eq!(exit, 5, "{file}: {said}");
                let next = done["error"]["remedy"].as_str().unwrap();
                assert!(next.ends_with("nothing was imported"), "{file}: {done}");
            } else {
                assert_eq!(exit, 0, "{file}: {said}");
                let found = Expected {
                    tokens: count("tokens"),
                    there: count("there"),
                    refused: count("bad"),
                };
                let refused = wanted.refused + others(file);
                let wanted = Expected { refused, ..wanted };
                assert_eq!(found, wanted, "{file}, round {round}: {said}");
            }
            // Each row that is left has its file and line; and where a token on record is the cause, its serial.
            let place = format!("{file}:");
            let lines = said.split(&place).skip(1);
            let lines = lines.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            let findings = done["error"]["findings"].as_array();
            let findings = findings.map_or(0, Vec::len);
            assert_eq!(
                (lines.count() + findings) as u64,
                wanted.refused + others(file),
                "{file}: {said}"
            );
            for secret in ["GEZDGNBVG", "31323334353637", "12345678901234567890"] {
                assert!(!said.contains(secret), "{file}: a key was shown: {said}");
            }
        }
    }
    has_made(&site, &known);
}

/// What is on record is what was made, as the manifest has it.
fn has_made(site: &Site, known: &Known) {
    let listed = site.json(&["token", "list"]);
    let listed = listed["tokens"].as_array().unwrap();
    assert_eq!(listed.len(), known.len());
    for row in known.values() {
        let found = listed.iter().any(|token| {
            let [kind, algorithm, digits, period] = &row.codes;
            let serial = row.serial == "-" || token["serial"] == row.serial.as_str();
            let user = token["user"].as_str().unwrap_or("-");
            let user = user.strip_suffix("@default").unwrap_or(user);
            let period = period.is_empty() || token["period"].as_u64() == period.parse().ok();
            serial
                && user == row.user
                && token["kind"] == kind.as_str()
                && token["algorithm"] == algorithm.as_str()
                && token["digits"].as_u64() == digits.parse().ok()
                && period
        });
        assert!(found, "{row:?}: {listed:?}");
    }
}

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

fn rows(site: &Site, text: &str, more: &[&str]) -> (i32, Value, String) {
    let words = [&["--json", "token", "import", "-"][..], more].concat();
    let output = site.run_with(&words, text);
    let said = [output.stderr, output.stdout.clone()].concat();
    let done = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let said = String::from_utf8(said).unwrap();
    (output.status.code().unwrap(), done, said)
}

/// One key for two users: refused with the serial that has it, or on purpose one token for both.
#[test]
fn a_key_of_another_is_refused_or_counts_for_both_on_purpose() {
    let site = Site::new();
    for user in ["alice", "bob", "carol"] {
        site.json(&["user", "add", user]);
    }
    let own = format!("user,secret,serial\nalice,{KEY},SHARED1\n");
    assert_eq!(rows(&site, &own, &[]).0, 0);
    let (exit, _, said) = rows(&site, &format!("user,secret\nbob,{KEY}\n"), &[]);
    assert_eq!(exit, 5, "{said}");
    for part in [
        "\"line\":2",
        "SHARED1",
        "oncegate token link SHARED1 bob",
        "--link",
        "nothing was imported",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Other codes of one key count for no one else.
    let other = format!("user,secret,digits\nbob,{KEY},8\n");
    assert_eq!(rows(&site, &other, &["--link"]).0, 5);
    let (exit, done, said) = rows(
        &site,
        &format!("user,secret\nbob,{KEY}\n"),
        &["--link", "--dry-run"],
    );
    assert_eq!((exit, &done["linked"]), (0, &1.into()), "{said}");
    assert_eq!(
        site.json(&["token", "list", "--user", "bob"])["tokens"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let (exit, done, said) = rows(&site, &format!("user,secret\nbob,{KEY}\n"), &["--link"]);
    assert_eq!(
        (exit, &done["linked"], &done["tokens"]),
        (0, &1.into(), &0.into()),
        "{said}"
    );
    // It is there then, for both; and within one file the second row of a key counts for its user, too.
    let both = format!("user,secret\nalice,{KEY}\nbob,{KEY}\ncarol,{KEY}\n");
    let (exit, done, said) = rows(&site, &both, &["--link"]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(
        (&done["there"], &done["linked"]),
        (&2.into(), &1.into()),
        "{done}"
    );
    let (_, done, _) = rows(&site, &both, &["--link"]);
    assert_eq!(
        (&done["there"], &done["linked"]),
        (&3.into(), &0.into()),
        "{done}"
    );
    let listed = site.json(&["audit", "list", "--action", "import"]);
    let with_link = listed.to_string().matches(", 1 link").count();
    assert_eq!(with_link, 2, "{listed}");
}

/// The list of a vendor is imported again after some of its tokens were given to people; what differs is said.
#[test]
fn a_token_that_is_there_is_no_fault_and_what_differs_is_one() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let stock = format!("user,secret,serial\n,{KEY},V1\n");
    assert_eq!(rows(&site, &stock, &[]).0, 0);
    for (text, part) in [
        (
            format!("user,secret,serial\n,{KEY},V2\n"),
            "another serial number",
        ),
        (
            format!("user,secret,serial,digits\n,{KEY},V1,8\n"),
            "makes other codes: totp, sha1, 6 digits, 30 s",
        ),
        (
            format!("user,secret,serial,kind\n,{KEY},V1,hotp\n"),
            "makes other codes",
        ),
        (
            format!("user,secret\nalice,{KEY}\n"),
            "oncegate token assign V1 alice",
        ),
    ] {
        let (exit, _, said) = rows(&site, &text, &[]);
        assert_eq!(exit, 5, "{said}");
        assert!(
            said.contains(part) && said.contains("token V1 has this key"),
            "{part}: {said}"
        );
    }
    // Another key under the serial.
    let other = "user,secret,serial\n,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJA,V1\n";
    let (exit, _, said) = rows(&site, other, &[]);
    assert_eq!(exit, 5, "{said}");
    assert!(
        said.contains("a token with this serial exists already"),
        "{said}"
    );
    site.json(&["token", "assign", "V1", "alice"]);
    let two = format!("{stock},GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJA,V2\n");
    let (exit, done, said) = rows(&site, &two, &[]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!((&done["there"], &done["tokens"]), (&1.into(), &1.into()));
    // One that has ended is not what the file says.
    site.json(&["token", "revoke", "V1"]);
    let (exit, _, said) = rows(&site, &stock, &[]);
    assert_eq!(exit, 5, "{said}");
    assert!(
        said.contains("is revoked") && said.contains("oncegate token remove V1"),
        "{said}"
    );
}

#[test]
fn three_users_of_one_key_and_a_fault_beside_them() {
    let site = Site::new();
    for user in ["alice", "bob", "carol", "dave"] {
        site.json(&["user", "add", user]);
    }
    let three = format!("user,secret\nalice,{KEY}\nbob,{KEY}\ncarol,{KEY}\n");
    let (exit, done, said) = rows(&site, &three, &["--link", "--dry-run"]);
    assert_eq!((exit, &done["linked"]), (0, &2.into()), "{said}");
    // What the command does not see is one key makes nothing of the file: links are part of the batch.
    let padded = format!("user,secret\ndave,{OTHER}\ncarol,{KEY}\ncarol,{KEY}AAAAAAAA\n");
    let (exit, _, said) = rows(&site, &padded, &["--link"]);
    assert_eq!(exit, 5, "{said}");
    let dave = site.json(&["token", "list", "--user", "dave"]);
    assert_eq!(dave["tokens"].as_array().unwrap().len(), 0, "{dave}");

    let (exit, done, said) = rows(&site, &three, &["--link"]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(
        (&done["tokens"], &done["linked"]),
        (&1.into(), &2.into()),
        "{done}"
    );
    for user in ["alice", "bob", "carol"] {
        let tokens = site.json(&["token", "list", "--user", user]);
        assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1, "{user}");
    }
}

/// A PIN that comes with a token that is there is not lost.
#[test]
fn a_pin_comes_with_a_token_that_is_there() {
    let site = Site::new();
    site.json(&["user", "add", "dave"]);
    assert_eq!(rows(&site, &format!("user,secret\ndave,{KEY}\n"), &[]).0, 0);
    let hash = "$argon2id$v=19$m=65536,t=9,p=4$fq9Vas0Zo5TSulcKYUwpJQ$TVSSSJB9B9uU+2UnN9OENGJDT7/RHeF0W5AmyotWA3Q";
    let with_pin = format!("user,secret,pin_hash\ndave,{KEY},\"{hash}\"\n");
    let (exit, done, said) = rows(&site, &with_pin, &[]);
    assert_eq!((exit, &done["there"]), (0, &1.into()), "{said}");
    let dave = site.json(&["user", "show", "dave"]);
    assert!(dave["pin"].is_object(), "{dave}");
}
