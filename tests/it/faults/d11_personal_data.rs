//! Fault D11: no display name, personal data readable at rest, and nothing that erased them.

use crate::support::daemon::Site;
use crate::support::lab::Lab;
use oncegate::model::kind::Kind;
use oncegate::otp::Digits;
use oncegate::radius::attribute::Type;
use oncegate::radius::packet::Packet;
use serde_json::{Value, json};
use std::path::PathBuf;

const NAME: &str = "Kim Canarydisplay";
const PHONE: &str = "+821055512345";
const EMAIL: &str = "canary.d11@example.org";
const BIRTH: &str = "1987-06-05";
const ADDRESS: &str = "+821066698765";
/// What must not be readable, in whatever form a number was written.
const CANARIES: [&str; 5] = ["Canarydisplay", "55512345", "canary.d11", BIRTH, "66698765"];

fn keys(site: &Site) -> PathBuf {
    site.path().join("store/personal.keys")
}

/// All octets of all files of the store.
fn octets(site: &Site) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(site.path().join("store")).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    all
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

fn add(site: &Site, user: &str) {
    site.json(&[
        "user",
        "add",
        user,
        "--display-name",
        NAME,
        "--phone",
        PHONE,
        "--email",
        EMAIL,
        "--birth-date",
        BIRTH,
    ]);
}

/// What the audit says of a field of the user's, the newest first.
fn said(site: &Site, user: &str, field: &str) -> Vec<Value> {
    let audit = site.json(&["audit", "list", "--user", user, "--limit", "200"]);
    let records = audit["records"].as_array().unwrap().iter();
    let changes = records.filter_map(|record| record["changes"].as_array());
    let fields = changes.flatten().filter(|change| change["field"] == field);
    fields.cloned().collect()
}

fn intact(site: &Site) -> bool {
    site.json(&["audit", "verify"])["intact"] == true
}

#[test]
fn nothing_personal_is_readable_at_rest() {
    let site = Site::new();
    let daemon = site.serve();
    add(&site, "kim");
    site.json(&["user", "set", "kim", "--phone", "+821055512346"]);
    site.json(&["user", "set", "kim", "--phone", PHONE]);
    site.json(&[
        "token",
        "add",
        "kim",
        "--kind",
        "sms",
        "--address",
        ADDRESS,
        "--active",
    ]);
    let shown = site.json(&["user", "show", "kim"]);
    assert_eq!(shown["display_name"], NAME);
    assert_eq!(shown["email"], EMAIL);
    assert_eq!(shown["birth_date"], BIRTH);
    let phones = said(&site, "kim", "phone");
    assert_eq!(phones[0]["after"], shown["phone"], "{phones:?}");
    assert_eq!(said(&site, "kim", "address").len(), 1);
    assert!(daemon.terminate().success());
    let all = octets(&site);
    for canary in CANARIES {
        assert!(!holds(&all, canary.as_bytes()), "{canary} is readable");
    }
    // They are there all the same, without a daemon and after the checkpoint.
    assert_eq!(site.json(&["user", "show", "kim"]), shown);
}

/// The one copy of the key is gone from every file of the store; without it nobody reads, master key or not.
#[test]
fn an_erased_user_cannot_be_read_with_the_master_key() {
    for online in [true, false] {
        let site = Site::new();
        let daemon = online.then(|| site.serve());
        add(&site, "kim");
        add(&site, "lee");
        site.json(&["user", "set", "kim", "--email", "other.d11@example.org"]);
        let slots = std::fs::read(keys(&site)).unwrap();
        let (first, second) = (slots[..61].to_vec(), slots[80..141].to_vec());
        assert!(holds(&octets(&site), &first));
        site.json(&["user", "erase", "kim", "--yes"]);
        // Decided, carried out, and told: before the answer.
        let all = octets(&site);
        assert!(!holds(&all, &first) && holds(&all, &second));
        assert_eq!(std::fs::read(keys(&site)).unwrap()[..80], [0; 80]);
        let gone = site.run(&["user", "show", "kim"]);
        assert_eq!(gone.status.code(), Some(4));
        for field in ["display_name", "phone", "email", "birth_date"] {
            let said = said(&site, "kim", field);
            assert!(!said.is_empty());
            for change in said {
                assert_eq!(change["hidden"], "erased", "{change}");
                assert_eq!(
                    (&change["before"], &change["after"]),
                    (&json!(null), &json!(null))
                );
            }
        }
        let told = String::from_utf8(site.run(&["audit", "list", "--user", "kim"]).stdout).unwrap();
        assert!(told.contains("(erased)"), "{told}");
        // Nobody else is touched, nor the chain.
        assert_eq!(site.json(&["user", "show", "lee"])["display_name"], NAME);
        assert_eq!(said(&site, "lee", "phone")[0]["after"], PHONE);
        assert!(intact(&site));
        let again = site.run(&["user", "erase", "kim", "--yes"]);
        assert_eq!(again.status.code(), Some(4));
        drop(daemon);
        let all = octets(&site);
        assert!(!holds(&all, &first));
    }
}

#[test]
fn a_removed_user_is_in_the_audit_until_erased_and_the_name_is_free() {
    let site = Site::new();
    add(&site, "kim");
    site.json(&["user", "remove", "kim", "--yes"]);
    let removed = said(&site, "kim", "phone");
    assert_eq!(removed[0]["before"], PHONE, "{removed:?}");
    // Another person of the same name, who is erased with the first: a name is all one can ask for.
    site.json(&["user", "add", "kim", "--display-name", "Kim the Second"]);
    site.json(&["user", "remove", "kim", "--yes"]);
    site.json(&["user", "erase", "kim", "--yes"]);
    for change in said(&site, "kim", "phone")
        .iter()
        .chain(&said(&site, "kim", "display_name"))
    {
        assert_eq!(change["hidden"], "erased");
    }
    // Who comes after that has a key of their own.
    add(&site, "kim");
    assert_eq!(site.json(&["user", "show", "kim"])["phone"], PHONE);
    assert_eq!(said(&site, "kim", "phone")[0]["after"], PHONE);
    assert_eq!(said(&site, "kim", "phone")[1]["hidden"], "erased");
    assert!(intact(&site));
    let unknown = site.run(&["user", "erase", "nobody", "--yes"]);
    assert_eq!(unknown.status.code(), Some(4));
}

/// A crash between the decision and the destruction, or a file that was put back.
#[test]
fn an_older_copy_of_the_keys_brings_nothing_back() {
    let site = Site::new();
    add(&site, "kim");
    add(&site, "lee");
    let copy = std::fs::read(keys(&site)).unwrap();
    site.json(&["user", "erase", "kim", "--yes"]);
    std::fs::write(keys(&site), &copy).unwrap();
    let mut daemon = site.serve();
    assert_eq!(std::fs::read(keys(&site)).unwrap()[..80], [0; 80]);
    assert_eq!(said(&site, "kim", "phone")[0]["hidden"], "erased");
    assert_eq!(site.json(&["user", "show", "lee"])["phone"], PHONE);
    daemon.kill();
}

/// Put back under a running daemon: named, and destroyed again by whoever erases anybody.
#[test]
fn an_older_file_put_back_while_the_daemon_runs_is_named_and_destroyed_again() {
    let site = Site::new();
    let daemon = site.serve();
    add(&site, "kim");
    add(&site, "lee");
    let copy = std::fs::read(keys(&site)).unwrap();
    site.json(&["user", "erase", "kim", "--yes"]);
    assert_eq!(site.run(&["store", "verify"]).status.code(), Some(0));
    std::fs::write(keys(&site), &copy).unwrap();
    let verified = site.run(&["store", "verify"]);
    let told = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(1), "{told}");
    for part in [
        "personal.keys",
        "key 0",
        "erased user",
        "start the daemon again",
    ] {
        assert!(told.contains(part), "no `{part}` in {told}");
    }
    let doctor = site.run(&["doctor"]);
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{told}");
    assert!(told.contains("personal.keys"), "{told}");
    let again = site.run(&["user", "erase", "kim", "--yes"]);
    assert_eq!(again.status.code(), Some(4));
    assert_eq!(std::fs::read(keys(&site)).unwrap()[..80], [0; 80]);
    assert_eq!(site.run(&["store", "verify"]).status.code(), Some(0));
    assert!(daemon.terminate().success());
}

/// A copy from before many users were added: the keys of those are missing, one of an erased user too.
#[test]
fn a_shorter_file_is_named_destroys_what_it_can_and_gives_no_number_twice() {
    let site = Site::new();
    add(&site, "kim");
    add(&site, "lee");
    let copy = std::fs::read(keys(&site)).unwrap();
    let rows = (0..300).map(|n| format!("u{n},u{n}@example.org\n"));
    let csv = site.path().join("users.csv");
    std::fs::write(&csv, format!("user,email\n{}", rows.collect::<String>())).unwrap();
    site.json(&["user", "import", csv.to_str().unwrap()]);
    let whole = std::fs::read(keys(&site)).unwrap();
    assert!(whole.len() > copy.len());
    for user in ["u299", "kim"] {
        site.json(&["user", "erase", user, "--yes"]);
    }
    std::fs::write(keys(&site), &copy).unwrap();
    let verified = site.run(&["--json", "store", "verify"]);
    let told = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(1), "{told}");
    for part in [
        "personal.keys",
        "default/u298",
        "shorter file",
        "newer backup",
    ] {
        assert!(told.contains(part), "no `{part}` in {told}");
    }
    assert!(!told.contains("default/lee"), "{told}");
    assert_eq!(site.run(&["doctor"]).status.code(), Some(1));
    // The one that is missing keeps no other.
    assert_eq!(std::fs::read(keys(&site)).unwrap()[..80], [0; 80]);
    assert_eq!(site.json(&["user", "show", "lee"])["phone"], PHONE);
    // Who is added now has a number that nobody had.
    add(&site, "later");
    assert_eq!(site.json(&["user", "show", "later"])["phone"], PHONE);
    let grown = std::fs::read(keys(&site)).unwrap();
    let taken = copy.len()..copy.len() + 300 * 80;
    assert!(grown[taken].iter().all(|octet| *octet == 0));
    // Cut within a key.
    std::fs::write(keys(&site), &whole[..whole.len() - 7]).unwrap();
    let verified = site.run(&["store", "verify"]);
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(told.contains("ends within a key"), "{told}");
}

#[tokio::test]
async fn a_reply_may_hold_the_display_name() {
    let reply = "[reply]\n\"Filter-Id\" = \"{display_name}\"\n";
    let rules = "reject_delay = \"0s\"\n[[rule]]\nname = \"all\"\nrequire = [\"otp\"]\n";
    let lab = Lab::new(&[("vpn", &format!("{rules}{reply}"))]).await;
    lab.user("alice", None, None).await;
    lab.token("alice", Kind::Totp, Digits::SIX).await;
    for (name, wanted) in [
        (None, Vec::new()),
        (
            Some("\u{ae40}\u{bbfc}\u{c218}".to_owned()),
            vec!["\u{ae40}\u{bbfc}\u{c218}".to_owned()],
        ),
        // As long as a name may be: cut, and nothing else of the reply is lost by it.
        (Some("n".repeat(256)), vec!["n".repeat(128)]),
    ] {
        lab.display_name("alice", name).await;
        let code = lab.code("alice");
        let (reply, heard) = lab
            .send("vpn", |request, keys| {
                request.attribute(Type::UserName, b"alice").unwrap();
                request.user_password(code.as_bytes(), keys).unwrap();
            })
            .await;
        assert_eq!(heard.decision, "accept");
        lab.clock.advance(std::time::Duration::from_secs(30));
        let packet = Packet::parse(&reply).unwrap();
        let values = packet.all(Type::FilterId);
        let values = values.map(|value| String::from_utf8(value.to_vec()).unwrap());
        assert_eq!(values.collect::<Vec<_>>(), wanted);
    }
}

/// A key is durable before the user who has it.
#[test]
fn users_made_just_before_a_kill_can_be_read() {
    let site = Site::new();
    let mut daemon = site.serve();
    for n in 0..5 {
        add(&site, &format!("u{n}"));
    }
    daemon.kill();
    for n in 0..5 {
        let shown = site.json(&["user", "show", &format!("u{n}")]);
        assert_eq!(shown["display_name"], NAME);
    }
    // Numbers are never given twice: those made after the restart do not open what was before.
    add(&site, "later");
    site.json(&["user", "erase", "later", "--yes"]);
    assert_eq!(site.json(&["user", "show", "u4"])["phone"], PHONE);
}

/// Damage is named and stays with its user.
#[test]
fn a_damaged_key_concerns_its_user_only() {
    let site = Site::new();
    add(&site, "kim");
    add(&site, "lee");
    let mut slots = std::fs::read(keys(&site)).unwrap();
    slots[30] ^= 1;
    std::fs::write(keys(&site), &slots).unwrap();
    let shown = site.run(&["user", "show", "kim"]);
    assert_eq!(shown.status.code(), Some(3), "{shown:?}");
    assert_eq!(site.json(&["user", "show", "lee"])["phone"], PHONE);
    assert_eq!(said(&site, "kim", "phone")[0]["hidden"], "unreadable");
    assert!(intact(&site));
    site.json(&["user", "remove", "kim", "--yes"]);
    site.json(&["user", "erase", "kim", "--yes"]);
    assert_eq!(said(&site, "kim", "phone")[0]["hidden"], "erased");
}

/// Without the file nothing is guessed and nothing is overwritten: the start says what is missing.
#[test]
fn a_missing_file_of_keys_is_named_at_the_start() {
    let site = Site::new();
    add(&site, "kim");
    let copy = std::fs::read(keys(&site)).unwrap();
    std::fs::remove_file(keys(&site)).unwrap();
    let shown = site.run(&["user", "show", "kim"]);
    assert_eq!(shown.status.code(), Some(3));
    let told = String::from_utf8(shown.stderr).unwrap();
    assert!(told.contains("personal.keys"), "{told}");
    std::fs::write(keys(&site), copy).unwrap();
    assert_eq!(site.json(&["user", "show", "kim"])["phone"], PHONE);
}

#[test]
fn a_display_name_comes_by_every_way() {
    let site = Site::new();
    for (heading, user) in [("display_name", "one"), ("name", "two")] {
        let csv = site.path().join("users.csv");
        std::fs::write(
            &csv,
            format!("user,{heading},groups\n{user},\u{ae40}\u{bbfc}\u{c218},staff\n"),
        )
        .unwrap();
        site.json(&["user", "import", csv.to_str().unwrap()]);
        assert_eq!(
            site.json(&["user", "show", user])["display_name"],
            "\u{ae40}\u{bbfc}\u{c218}"
        );
    }
    site.json(&["user", "set", "one", "--display-name", "Kim Minsu"]);
    assert_eq!(
        site.json(&["user", "show", "one"])["display_name"],
        "Kim Minsu"
    );
    let told = String::from_utf8(site.run(&["user", "show", "one"]).stdout).unwrap();
    assert!(told.contains("Kim Minsu"), "{told}");
    site.json(&["user", "set", "one", "--display-name", ""]);
    assert_eq!(
        site.json(&["user", "show", "one"])["display_name"],
        json!(null)
    );
    let all = octets(&site);
    assert!(!holds(&all, "Minsu".as_bytes()) && !holds(&all, "\u{bbfc}\u{c218}".as_bytes()));
}

#[test]
fn a_key_is_destroyed_only_on_a_confirmed_word() {
    let site = Site::new();
    site.json(&["user", "add", "kim", "--email", "kim@example.com"]);
    let refused = site.run(&["user", "erase", "kim"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        site.json(&["user", "show", "kim"])["email"],
        "kim@example.com"
    );
    site.json(&["user", "erase", "kim", "--yes"]);
}

/// The keys cannot be made anew from anything: main.redb is left alone, and the advice is a backup.
#[test]
fn damaged_keys_are_no_reason_to_make_the_rows_anew() {
    let site = Site::new();
    add(&site, "kim");
    let whole = std::fs::read(keys(&site)).unwrap();
    let mut broken = whole.clone();
    broken[30] ^= 1;
    let damages: [(&str, Option<&[u8]>); 4] = [
        ("missing", None),
        ("empty", Some(&[])),
        ("short", Some(&whole[..40])),
        ("broken", Some(&broken)),
    ];
    for (about, octets) in damages {
        match octets {
            Some(octets) => std::fs::write(keys(&site), octets).unwrap(),
            None => std::fs::remove_file(keys(&site)).unwrap(),
        }
        for words in [
            &["store", "verify"][..],
            &["store", "verify", "--repair"],
            &["doctor"],
        ] {
            let output = site.run(words);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1), "{about}, {words:?}: {text}");
            for part in [
                "personal.keys",
                "put store/personal.keys back from a backup that is newer than the last erasure",
            ] {
                assert!(
                    text.contains(part),
                    "{about}, {words:?}: no `{part}` in {text}"
                );
            }
            for part in ["main.redb:", "verify --repair", "made anew:"] {
                assert!(
                    !text.contains(part),
                    "{about}, {words:?}: `{part}` in {text}"
                );
            }
        }
        let files = std::fs::read_dir(site.path().join("store")).unwrap();
        let kept = files.filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_string_lossy().contains("damaged")
        });
        assert_eq!(kept.count(), 0, "{about}");
    }
    std::fs::write(keys(&site), []).unwrap();
    let status = site.try_serve().map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Some(3));
    let log = site.log();
    assert!(log.contains("newer than the last erasure"), "{log}");
    std::fs::write(keys(&site), whole).unwrap();
    assert!(intact(&site));
}
