//! Many users and tokens from a file: what it makes, what it refuses, what it never says.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::codes::{RFC_SECRET, hotp};
use crate::support::daemon::{Site, command};
use crate::support::net::Http;

/// Keys that differ: base 32 of as many octets as a usual key.
fn key(number: usize) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digits = [number / 32768, number / 1024, number / 32, number];
    let tail: String = digits
        .iter()
        .map(|digit| char::from(letters[digit % 32]))
        .collect();
    format!("GEZDGNBVGY3TQOJQGEZDGNBVGY3T{tail}")
}

fn people(count: usize) -> String {
    let mut text = "user,realm,groups,phone,email,class,secret\n".to_owned();
    for number in 0..count {
        let secret = key(number);
        let line = format!("u{number},staff,vpn;all,+82 2 555 0100,a@b,full,{secret}\n");
        text.push_str(&line);
    }
    text
}

fn import(site: &Site, noun: &str, file: &str, words: &[&str]) -> (i32, Value, Output) {
    let words = [&["--json", noun, "import", "-"], words].concat();
    let output = site.run_with(&words, file);
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("GEZDGNBV"), "a key was shown: {said}");
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), document, output)
}

fn made(document: &Value) -> [u64; 4] {
    ["users", "tokens", "skipped", "bad"].map(|field| {
        let number = document[field].as_u64();
        number.unwrap_or_else(|| panic!("{field}: {document}"))
    })
}

fn users(site: &Site) -> usize {
    let users = site.json(&["user", "list", "--limit", "5000"]);
    users["users"].as_array().unwrap().len()
}

#[test]
fn users_and_tokens_are_made_in_batches_with_one_record_each() {
    let site = Site::new();
    let (exit, done, _) = import(&site, "user", &people(1000), &["--dry-run"]);
    assert_eq!((exit, made(&done)), (0, [1000, 1000, 0, 0]));
    assert_eq!(users(&site), 0, "a dry run makes nothing");
    let (exit, done, _) = import(&site, "user", &people(1000), &[]);
    assert_eq!((exit, made(&done)), (0, [1000, 1000, 0, 0]));
    assert_eq!(users(&site), 1000);
    let user = site.json(&["user", "show", "u7@staff"]);
    assert_eq!(user["groups"], json!(["vpn", "all"]));
    assert_eq!(user["email"], "a@b");
    let records = site.json(&["audit", "export"]);
    let records = records.as_array().unwrap().iter();
    let imports = records.filter(|record| record["action"] == "import");
    let mut targets: Vec<&str> = imports
        .map(|record| record["target"].as_str().unwrap())
        .collect();
    targets.sort_unstable();
    let (rest, full) = ("200 users, 200 tokens", "400 users, 400 tokens");
    assert_eq!(targets, [rest, full, full]);
    assert_eq!(site.json(&["audit", "verify"])["intact"], true);
}

/// Contract s7: keys from 80 bits on are taken, and those under 112 are named, once for a file.
#[test]
fn keys_under_112_bits_are_warned_of() {
    let site = Site::new();
    for user in ["alice", "bob"] {
        site.json(&["user", "add", user]);
    }
    let short = ["MFRGGZDF", "MJRGGZDF", "MNRGGZDF", "MRRGGZDF", "MVRGGZDF"];
    let short = short.map(|key| format!("{key}MZTWQ2LK"));
    let warned = |noun: &str, text: &str, words: &[&str], wanted: &str| {
        let (exit, done, output) = import(&site, noun, text, words);
        assert_eq!(exit, 0, "{done}");
        let warnings = done["warnings"].as_array().expect("warnings");
        let said = String::from_utf8(output.stderr).unwrap();
        if wanted.is_empty() {
            assert_eq!((warnings.len(), said.contains("112 bits")), (0, false));
            return;
        }
        let [warning] = warnings.as_slice() else {
            panic!("{done}");
        };
        assert!(warning.as_str().unwrap().starts_with(wanted), "{warning}");
        assert_eq!(said.matches(wanted).count(), 1, "{said}");
    };
    let tokens = format!(
        "user,secret\nalice,{}\nalice,{}\nbob,{}\n",
        key(1),
        short[0],
        short[1]
    );
    let two = "keys of less than 112 bits: 2, the first of them in line 3; ";
    warned("token", &tokens, &["--dry-run"], two);
    warned("token", &tokens, &[], two);
    let daemon = site.serve();
    let people = format!("user,secret\ncarol,{}\ndora,{}\n", short[2], key(2));
    let one = "keys of less than 112 bits: 1, the first of them in line 2; ";
    warned("user", &people, &[], one);
    // Of users who exist no token is made.
    let update = format!("{people}erin,{}\n", short[3]);
    let last = "keys of less than 112 bits: 1, the first of them in line 4; ";
    warned("user", &update, &["--update", "--dry-run"], last);
    warned("user", &update, &["--update"], last);
    warned("user", &format!("user,secret\nfred,{}\n", key(3)), &[], "");
    let mut http = Http::new(daemon.http, &site.admin_key);
    let body = json!({"make": "tokens", "rows": [
        {"user": "bob", "secret": key(4)}, {"user": "bob", "secret": short[4]},
    ]});
    let body = body.to_string();
    let (status, made) = http
        .send("POST", "/v1/admin/import", body.as_bytes())
        .unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!((status, &made["tokens"]), (200, &json!(2)), "{made}");
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("keys of less than 112 bits: 1, the first of them in rows[1]; "),
        "{made}"
    );
    assert!(daemon.terminate().success());
}

/// File, line, column and the field that a finding names.
fn place(finding: &Value) -> (&str, u64, Option<u64>, &str) {
    let message = finding["message"].as_str().unwrap();
    (
        finding["file"].as_str().unwrap(),
        finding["line"].as_u64().unwrap(),
        finding["column"].as_u64(),
        message.split(':').next().unwrap(),
    )
}

/// A row that says what another one said is a mistake in the file.
#[test]
fn a_user_twice_is_found_with_both_lines() {
    let site = Site::new();
    let refused = |text: &str, noun: &str| {
        let (exit, error, _) = import(&site, noun, text, &[]);
        assert_ne!(exit, 0, "{text}");
        assert_eq!(users(&site), 0, "{text}");
        let finding = &error["error"]["findings"][0];
        let message = finding["message"].as_str().unwrap().to_owned();
        (finding["line"].as_u64().unwrap(), message)
    };
    let (one, two) = (key(1), key(2));
    for (text, line, other) in [
        (
            "user,phone\nann,+82-2-555-0100\nann,+82-2-555-0100\n".to_owned(),
            3,
            "line 2",
        ),
        (
            "user,phone\nann,+82-2-555-0100\nann,+82-2-555-0199\n".to_owned(),
            3,
            "line 2",
        ),
        ("user\nann\nbob\nANN@default\n".to_owned(), 4, "line 2"),
        (format!("user,secret\nann,{one}\nann,{one}\n"), 3, "line 2"),
        (
            format!("user,secret,groups\nann,{one},vpn\nann,{two},staff\n"),
            3,
            "line 2",
        ),
    ] {
        let (at, message) = refused(&text, "user");
        assert_eq!(at, line, "{message}");
        assert!(message.contains(other), "{message}");
        assert!(!message.contains(&one), "{message}");
    }
    // A further row for a further token is none.
    let text = format!(
        "user,secret,groups\nann,{one},vpn\nann,{two},\nbob,{},\n",
        key(5)
    );
    let (exit, done, _) = import(&site, "user", &text, &[]);
    assert_eq!((exit, made(&done)), (0, [2, 3, 0, 0]));
    // Tokens of a user who exists, one after the other or not.
    let (three, four) = (key(3), key(4));
    let text = format!("user,secret\nann,{three}\nbob,{four}\nann,{three}\n");
    let (exit, error, _) = import(&site, "token", &text, &[]);
    assert_eq!(exit, 5, "{error}");
    let message = error["error"]["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("line 2"), "{message}");
}

/// All that is wrong with a row is said at once.
#[test]
fn a_row_with_several_faults_has_as_many_findings() {
    let site = Site::new();
    let text = "user,kind,secret,algorithm,digits,period,counter,email,phone,serial\n\
                a@b@c@,sotp,GEZDGNBV1,md5,5,1,x,nomail,x1,bad serial\n\
                bob,hotp,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,sha1,6,30,-1,,,\n";
    let (exit, error, _) = import(&site, "user", text, &[]);
    assert_eq!(exit, 2, "{error}");
    let findings = error["error"]["findings"].as_array().unwrap();
    let fields = |line: u64| {
        let places = findings.iter().map(place);
        let mut fields: Vec<&str> = places
            .filter(|(file, at, column, _)| *file == "-" && *at == line && column.is_some())
            .map(|(.., field)| field)
            .collect();
        fields.sort_unstable();
        fields
    };
    assert_eq!(
        fields(2),
        [
            "algorithm",
            "counter",
            "digits",
            "email",
            "kind",
            "period",
            "phone",
            "secret",
            "serial",
            "user"
        ]
    );
    assert_eq!(fields(3), ["counter", "period"]);
    assert!(
        error["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("2 rows")
    );
    // For people, each with its place.
    let path = site.path().join("bad.csv");
    std::fs::write(&path, text).unwrap();
    let output = site.run(&["user", "import", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("bad.csv:2:") && said.contains("bad.csv:3:"),
        "{said}"
    );
}

#[test]
fn a_bad_row_leaves_everything_undone() {
    let site = Site::new();
    let text = format!(
        "user,secret,digits,email\ngood,{},6,\nbad,{},5,\n,,,\nworse,GEZDGNBV1,6,\nmail,,,x\n",
        key(1),
        key(2)
    );
    let (exit, error, _) = import(&site, "user", &text, &[]);
    assert_eq!(exit, 2, "{error}");
    let findings = error["error"]["findings"].as_array().unwrap();
    let told: Vec<_> = findings.iter().map(place).collect();
    for (told, wanted) in told.iter().zip([
        ("-", 3, Some(38), "digits"),
        ("-", 5, Some(7), "secret"),
        ("-", 6, Some(8), "email"),
    ]) {
        assert_eq!(*told, wanted);
    }
    assert_eq!((told.len(), users(&site)), (3, 0), "an empty row is none");
    let (exit, done, _) = import(&site, "user", &text, &["--skip-bad"]);
    assert_eq!((exit, made(&done)), (0, [1, 1, 0, 3]));
    let (exit, _, _) = import(&site, "user", "user,sekret\na,b\n", &["--skip-bad"]);
    assert_eq!(exit, 2, "a heading is no row that can be left out");
}

#[test]
fn an_import_that_broke_off_is_repeated() {
    let site = Site::new();
    // The second batch meets somebody who is there already.
    site.json(&["user", "add", "u450@staff", "--class", "other"]);
    let daemon = site.serve();
    let (exit, error, _) = import(&site, "user", &people(450 + 1), &[]);
    assert_eq!(exit, 5, "{error}");
    let told = &error["error"]["findings"][0];
    assert_eq!(told["message"], "the user u450@staff exists already");
    assert_eq!((&told["file"], &told["line"]), (&json!("-"), &json!(452)));
    let before = users(&site);
    assert_eq!(before, 1, "the batch before was not made either");
    let (exit, done, _) = import(&site, "user", &people(451), &["--on-conflict", "skip"]);
    assert_eq!((exit, made(&done)), (0, [450, 450, 1, 0]));
    let user = site.json(&["user", "show", "u450@staff"]);
    assert_eq!(user["class"], "other", "who exists is left alone");
    assert_eq!(user["tokens"], json!([]));
    let (exit, done, _) = import(&site, "user", &people(451), &["--on-conflict", "skip"]);
    assert_eq!((exit, made(&done)), (0, [0, 0, 451, 0]));
    assert!(daemon.terminate().success());
}

/// Without a daemon, by `kill -9`: whole batches are there, the store is sound, and the rest is made by the next run.
#[test]
fn an_import_that_is_killed_leaves_whole_batches() {
    const ALL: usize = 4000;
    let site = Site::new();
    let file = site.path().join("people.csv");
    std::fs::write(&file, people(ALL)).unwrap();
    let keys = site.path().join("store/personal.keys");
    let prepared = || std::fs::metadata(&keys).map_or(0, |keys| keys.len());
    let before = prepared();
    let mut running = command(&site.path())
        .args(["user", "import"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Keys of personal data are prepared as users are made, not while they are only looked at.
    while prepared() == before && running.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    running.kill().unwrap();
    running.wait().unwrap();

    let checked = site.run(&["store", "verify"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert!(site.run(&["audit", "verify"]).status.success());
    let there = users(&site);
    assert!(there == ALL || there.is_multiple_of(400), "{there}");
    let (exit, done, _) = import(&site, "user", &people(ALL), &["--on-conflict", "skip"]);
    let rest = (ALL - there) as u64;
    assert_eq!((exit, made(&done)), (0, [rest, rest, there as u64, 0]));
    assert_eq!(users(&site), ALL);
    assert!(site.run(&["store", "verify"]).status.success());
}

#[test]
fn tokens_are_made_for_users_who_exist() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let text = format!("user,kind,secret,counter,serial\nalice,hotp,{RFC_SECRET},1,HOTP-OLD-7\n");
    let (exit, done, _) = import(&site, "token", &text, &[]);
    assert_eq!((exit, made(&done)), (0, [0, 1, 0, 0]));
    // Active, and its counter goes on where the other system left it.
    let verify = |code: &str| {
        let output = site.run_with(&["verify", "alice", "--otp-stdin"], code);
        output.status.code()
    };
    assert_eq!(verify(&hotp(0)), Some(1));
    assert_eq!(verify(&hotp(1)), Some(0));
    assert_eq!(verify(&hotp(1)), Some(1));
    // It is there, whatever the file calls it.
    let again = format!("user,kind,secret,serial\nalice,hotp,{RFC_SECRET},OTHER\n");
    let (exit, done, _) = import(&site, "token", &again, &[]);
    assert_eq!((exit, &done["there"]), (0, &json!(1)), "{done}");
    for (rows, exit) in [
        (format!("alice,totp,{},,HOTP-OLD-7\n", key(5)), 5),
        (format!("alice,totp,{0},,\nalice,totp,{0},,\n", key(6)), 5),
        (
            format!("alice,totp,{},,X\nalice,totp,{},,X\n", key(7), key(8)),
            5,
        ),
        (format!("nobody,totp,{},,\n", key(9)), 4),
    ] {
        let text = format!("user,kind,secret,counter,serial\n{rows}");
        let (code, error, _) = import(&site, "token", &text, &[]);
        assert_eq!(code, exit, "{error}");
    }
    let user = site.json(&["user", "show", "alice"]);
    assert_eq!(user["tokens"].as_array().unwrap().len(), 1);
}

#[test]
fn several_tokens_of_a_new_user_are_rows_one_after_the_other() {
    let site = Site::new();
    let text = format!("user,secret\nalice,{}\nalice,{}\nbob,\n", key(1), key(2));
    let (exit, done, _) = import(&site, "user", &text, &[]);
    assert_eq!((exit, made(&done)), (0, [2, 2, 0, 0]));
    let apart = format!(
        "user,secret\ncarol,{0}\ndave,{0}\ncarol,{1}\n",
        key(3),
        key(4)
    );
    let (exit, error, _) = import(&site, "user", &apart, &[]);
    assert_eq!(exit, 5, "{error}");
    assert_eq!(users(&site), 2);
}

#[test]
fn the_route_is_for_administrators_and_has_a_limit_of_its_own() {
    let site = Site::new();
    let only_verify = site.api_client("app");
    let daemon = site.serve();
    let rows: Vec<Value> = (0..500)
        .map(|number| json!({"user": format!("u{number}"), "secret": key(number)}))
        .collect();
    let body = |rows: &[Value]| {
        let body = json!({"make": "users", "rows": rows});
        serde_json::to_vec(&body).unwrap()
    };
    let mut app = Http::new(daemon.http, &only_verify);
    let mut admin = Http::new(daemon.http, &site.admin_key);
    let path = "/v1/admin/import";
    let usual = body(&rows);
    assert!(usual.len() > 16 * 1024);
    assert_eq!(app.send("POST", path, &usual).unwrap().0, 403);
    let (status, answer) = admin.send("POST", path, &usual).unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["users"]), (200, &json!(500)), "{answer}");
    let more: Vec<Value> = rows.iter().chain(&rows[..1]).cloned().collect();
    assert_eq!(admin.send("POST", path, &body(&more)).unwrap().0, 400);
    let huge = vec![b' '; 1024 * 1024 + 1];
    let refused = Http::new(daemon.http, &site.admin_key).send("POST", path, &huge);
    assert!(refused.is_err() || refused.unwrap().0 == 413);
    let other = Http::new(daemon.http, &site.admin_key).send("POST", "/v1/admin/users", &usual);
    assert!(
        other.is_err() || other.unwrap().0 == 413,
        "other routes keep theirs"
    );
    assert!(daemon.terminate().success());
}

/// Old segments go by command, the rest verifies, and the command says where the trail begins.
#[test]
fn the_audit_of_old_imports_is_pruned() {
    let site = Site::new();
    let config = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let small = text.replace("# segment_size = \"64MiB\"", "segment_size = \"1MiB\"");
    assert_ne!(small, text);
    std::fs::write(&config, small).unwrap();
    let kept = site.json(&["audit", "prune", "--before", "1d", "--yes"]);
    assert_eq!((&kept["removed"], &kept["first"]), (&0.into(), &1.into()));
    let (exit, done, _) = import(&site, "user", &people(6000), &[]);
    assert_eq!((exit, &done["users"]), (0, &6000.into()));
    // A segment is closed by the first record after it.
    site.json(&["user", "add", "last"]);
    let pruned = site.json(&[
        "audit",
        "prune",
        "--before",
        "2100-01-01T00:00:00Z",
        "--yes",
    ]);
    let removed = pruned["removed"].as_u64().unwrap();
    assert!(removed > 0, "{pruned}");
    assert_eq!(pruned["first"], removed + 1);
    let chain = site.json(&["audit", "verify"]);
    assert_eq!(
        (&chain["intact"], &chain["first"]),
        (&true.into(), &pruned["first"])
    );
    let text = site.run(&["audit", "verify"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("those before it were pruned"), "{text}");
    let list = site.json(&["audit", "list", "--limit", "1"]);
    assert_eq!(list["records"][0]["action"], "audit_prune");
    // What is left is exported whole, however far back it is asked for.
    for since in [&[][..], &["--since", "1h"]] {
        let all = site.json(&[&["audit", "export"], since].concat());
        let all = all.as_array().unwrap();
        assert_eq!(all[0]["seq"], pruned["first"]);
        assert_eq!(all[all.len() - 1]["action"], "audit_prune");
        assert_eq!(
            all.len() as u64,
            all[all.len() - 1]["seq"].as_u64().unwrap() - removed
        );
    }
    let none = site.json(&["audit", "export", "--since", "2100-01-01T00:00:00Z"]);
    assert_eq!(none, serde_json::json!([]));
    let request = list["records"][0]["request_id"].as_str().unwrap();
    let found = site.json(&["audit", "list", "--request", request]);
    assert_eq!(found["records"].as_array().unwrap().len(), 1);
}

/// Contract s8.1: of two tokens with one key each would accept the same code once.
#[test]
fn one_key_for_two_users_is_a_finding_of_its_row() {
    let site = Site::new();
    let (one, two) = (key(1), key(2));
    let heading = "user,secret\n";
    let refused = |rows: &str, words: &[&str]| {
        let (exit, _, output) = import(&site, "user", &format!("{heading}{rows}"), words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(exit, 5, "{rows} {words:?} {said}");
        said
    };
    // In the file, as whatever it is written.
    let said = refused(
        &format!("a,{one}\nb,{two}\nc,{}\n", one.to_lowercase()),
        &[],
    );
    assert!(said.contains("line 2"), "{said}");
    assert!(said.contains("token link"), "{said}");
    assert_eq!(users(&site), 0);
    // On record: also where rows that exist are left out, for that is another row.
    let (exit, ..) = import(&site, "user", &format!("{heading}a,{one}\n"), &[]);
    assert_eq!(exit, 0);
    for words in [&[][..], &["--dry-run"], &["--on-conflict", "skip"]] {
        let said = refused(&format!("b,{two}\nd,{one}\n"), words);
        assert!(said.contains("another user"), "{words:?} {said}");
        assert_eq!(users(&site), 1, "{words:?}");
    }
    // Repeated, the same file makes nothing and is content.
    let (exit, done, _) = import(
        &site,
        "user",
        &format!("{heading}a,{one}\n"),
        &["--on-conflict", "skip"],
    );
    assert_eq!((exit, made(&done)), (0, [0, 0, 1, 0]));
}

/// One command for either: what it makes is said by the format, or by what the columns are about.
#[test]
fn a_file_says_itself_what_it_holds() {
    let site = Site::new();
    let either = |file: &str, more: &[&str]| {
        let output = site.run_with(&[&["import", "-"], more].concat(), file);
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains("GEZDGNBV"), "a key was shown: {said}");
        (output.status.code(), said)
    };
    let owned = format!("user,email,secret\nbo,bo@example.com,{}\n", key(1));
    let tokens = format!("user,secret\nann,{}\n", key(2));
    let uri = format!("otpauth://totp/ann?secret={}\n", key(3));
    let cases: [(&str, &[&str], &str, &str); 7] = [
        (
            "Login,groups\ncarol,staff\n",
            &["--map", "Login=user"],
            "users",
            "Made 1 user.",
        ),
        ("user,groups\nann,staff\n", &[], "users", "Made 1 user."),
        (
            &owned,
            &["--dry-run"],
            "users",
            "Would make 1 user and 1 token.",
        ),
        (&owned, &[], "users", "Made 1 user and 1 token."),
        (
            &owned,
            &["--on-conflict", "skip"],
            "users",
            "Left out because they exist: 1 row.",
        ),
        (&tokens, &[], "tokens", "Made 1 token."),
        (&uri, &[], "tokens", "Made 1 token."),
    ];
    for (file, more, kind, wanted) in cases {
        let (code, said) = either(file, more);
        assert_eq!(code, Some(0), "{file}: {said}");
        assert!(
            said.contains(&format!("It holds {kind}.")),
            "{file}: {said}"
        );
        assert!(said.contains(wanted), "{file}: {said}");
    }
    for file in ["", "a,b\n1,2\n", "{\"x\": 1}", "groups,email\nstaff,a@b\n"] {
        let (code, said) = either(file, &[]);
        assert_eq!(code, Some(2), "{file}: {said}");
        for command in [
            "user import FILE",
            "token import FILE",
            "nothing was imported",
        ] {
            assert!(said.contains(command), "{file}: {said}");
        }
    }
    for option in ["--update", "--key-stdin"] {
        let (code, said) = either("", &[option]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(option), "{said}");
    }
    assert_eq!(users(&site), 3);
}
