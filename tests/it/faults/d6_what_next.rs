//! The last words say what to do next, and they are true.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::daemon::{Site, command};
use crate::support::gateway::GatewayDouble;
use crate::support::yubikey::Key;

const KEY: Key = Key::of_the_files();

fn words(output: &Output) -> (i32, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let code = output.status.code().unwrap_or(-1);
    (code, text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_story_told_once_does_not_send_to_a_server_that_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo");
    let mut quickstart = command(&path);
    let once = [
        "quickstart",
        "--once",
        "--radius",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ];
    let (code, out, err) = words(&quickstart.args(once).output().unwrap());
    assert_eq!(code, 0, "{out}{err}");
    for gone in ["radclient", "curl ", "Watch:", "Ctrl-C"] {
        assert!(!out.contains(gone), "{gone}: {out}");
    }
    assert!(out.contains("Again:"), "{out}");
    assert!(out.lines().last().unwrap().starts_with("Next:"), "{out}");
}

/// Only what `quickstart` made is a demonstration: no installation becomes one, and no other token shows its codes.
#[test]
fn a_demonstration_is_what_quickstart_made() {
    let site = Site::new();
    let (code, _, err) = words(&site.run(&["quickstart", "--once"]));
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("no place for a demonstration"), "{err}");
    assert!(!site.path().join("quickstart").exists());
    let serial = |user: &str| {
        site.json(&["user", "add", user]);
        let made = site.json(&["token", "add", user, "--active"]);
        made["serial"].as_str().unwrap().to_owned()
    };
    let (demo, _) = (serial("demo"), serial("ceo"));
    let marker = format!("{{\"user\":\"demo\",\"serial\":\"{demo}\"}}");
    std::fs::write(site.path().join("quickstart"), marker).unwrap();
    assert_eq!(site.json(&["code", "demo"])["serial"], demo.as_str());
    let (code, out, err) = words(&site.run(&["code", "ceo"]));
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("next:"), "{err}");
}

/// Hints beside what was asked for mean the installation that was named, as errors do.
#[test]
fn hints_can_be_pasted() {
    let site = Site::new();
    let at = format!("--dir {}", site.path().display());
    let (_, status, _) = words(&site.run(&["status"]));
    let (_, tokens, _) = words(&site.run(&["token", "list"]));
    let (_, users, _) = words(&site.run(&["user", "list"]));
    site.json(&["user", "add", "alice"]);
    let (_, alice, _) = words(&site.run(&["user", "show", "alice"]));
    for (out, command) in [
        (&status, "serve"),
        (&status, "backup FILE"),
        (&tokens, "token add USER"),
        (&users, "user add NAME"),
        (&alice, "token add alice@default"),
    ] {
        let pasted = format!("oncegate {command} {at}");
        assert!(out.contains(&pasted), "no {pasted} in {out}");
    }
}

/// Runs the binary as a user who owns nothing here; `None` where this one may not become another.
fn as_another(binary: &Path, dir: &Path, words: &[&str]) -> Option<Output> {
    nix::unistd::geteuid().is_root().then(|| {
        let mut command = Command::new(binary);
        command
            .uid(65534)
            .gid(65534)
            .current_dir("/")
            .env_clear()
            .env("ONCEGATE_DIR", dir)
            .args(words);
        command.output().unwrap()
    })
}

#[test]
fn what_may_not_be_read_is_not_missing() {
    let site = Site::new();
    // The directory of the test is this user's; the binary must be within reach of the other.
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = open.path().join("oncegate");
    std::fs::copy(env!("CARGO_BIN_EXE_oncegate"), &binary).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    for words_of in [
        &["user", "list"][..],
        &["status"],
        &["config", "check"],
        &["doctor"],
        &["quickstart", "--once"],
        &["serve"],
    ] {
        let Some(output) = as_another(&binary, &site.path(), words_of) else {
            return crate::support::skip("only root becomes another user");
        };
        let (code, out, err) = words(&output);
        let said = format!("{out}{err}");
        assert_ne!(code, 0, "{words_of:?}: {said}");
        assert!(said.contains("Permission denied"), "{words_of:?}: {said}");
        assert!(!said.contains("no installation"), "{words_of:?}: {said}");
        assert!(!said.contains("oncegate init"), "{words_of:?}: {said}");
    }
    // What is missing is said to be.
    let nothing = open.path().join("nothing");
    let (_, out, err) = words(&as_another(&binary, &nothing, &["user", "list"]).unwrap());
    assert!(err.contains("no installation in"), "{out}{err}");
    // The configuration may be read, the store may not: no advice to make another.
    for path in [site.path(), site.path().parent().unwrap().to_owned()] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = site.path().join("oncegate.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    for policies in [site.path().join("policies")] {
        std::fs::set_permissions(&policies, std::fs::Permissions::from_mode(0o755)).unwrap();
        for entry in std::fs::read_dir(&policies).unwrap() {
            let path = entry.unwrap().path();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    let (_, out, err) = words(&as_another(&binary, &site.path(), &["user", "list"]).unwrap());
    let said = format!("{out}{err}");
    assert!(said.contains("ermission denied"), "{said}");
    assert!(
        !said.contains("there is no store") && !said.contains("init"),
        "{said}"
    );
}

#[test]
fn a_gateway_that_the_daemon_has_not_read_is_not_missing() {
    let site = Site::new();
    let double = GatewayDouble::start();
    let daemon = site.serve();
    let file = site.path().join("oncegate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n{}", double.table("fresh", ""))).unwrap();
    let test = |name| {
        let words_of = ["delivery", "test", name, "--to", "010-1234-5678"];
        words(&site.run(&words_of))
    };
    let (code, _, err) = test("fresh");
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("does not know the gateway fresh yet"), "{err}");
    assert!(err.contains("oncegate reload"), "{err}");
    assert!(!err.contains("makes one"), "{err}");
    let (_, out, _) = words(&site.run(&["delivery", "list"]));
    assert!(
        out.contains("fresh") && out.contains("oncegate reload"),
        "{out}"
    );
    // The advice is true.
    let (code, out, err) = words(&site.run(&["reload"]));
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = test("fresh");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = test("other");
    assert_eq!(code, 4, "{err}");
    assert!(
        err.contains("[delivery.other]") && err.contains("makes one"),
        "{err}"
    );
    drop(daemon);
    let (code, _, err) = test("fresh");
    assert_eq!(code, 0, "without a daemon the file counts: {err}");
}

/// The administrator of this machine is told why there is no decision.
#[test]
fn the_cause_of_no_decision_is_told_on_this_machine() {
    let site = Site::new();
    site.json(&["user", "add", "bob"]);
    let policies = site.path().join("policies");
    std::fs::copy(policies.join("default.toml"), policies.join("extra.toml")).unwrap();
    site.json(&["client", "add", "api", "app", "--policy", "extra"]);
    std::fs::remove_file(policies.join("extra.toml")).unwrap();
    let ask = ["verify", "bob", "--client", "app", "--otp-stdin"];
    let told = |run: Output| {
        let (code, _, said) = words(&run);
        assert_eq!(code, 3, "{said}");
        assert!(
            said.contains("policy `extra`, which is not loaded"),
            "{said}"
        );
        assert!(said.contains("oncegate status"), "{said}");
    };
    told(site.run_with(&ask, "123456\n"));
}

/// What is named and is not there is exit code 4, and the advice means the installation that was named.
#[test]
fn what_is_not_there_is_not_found() {
    let site = Site::new();
    let nothing = site.path().with_file_name("nothing");
    let nothing = nothing.to_str().unwrap();
    let inside = format!("{nothing}/backup");
    let empty = Site::empty();
    for (site, words_of) in [
        (&empty, &["status"][..]),
        (&empty, &["restore", nothing]),
        (&site, &["backup", &inside]),
    ] {
        let (code, out, err) = words(&site.run(words_of));
        assert_eq!(code, 4, "{words_of:?}: {out}{err}");
        assert!(err.contains("next:"), "{words_of:?}: {err}");
    }
    let (_, _, err) = words(&empty.run(&["restore", nothing]));
    let program = env!("CARGO_BIN_EXE_oncegate");
    let advice = format!("`{program} backup --dir {}`", empty.path().display());
    assert!(err.contains(&advice), "{err}");
}

/// Answers of `setup` that cannot be used make nothing; the address of its own test login can be a client's.
#[test]
fn setup_makes_all_or_nothing() {
    let site = Site::empty();
    for (words_of, about) in [
        (
            &["--client", "vpn", "--address", "nowhere"][..],
            "--address",
        ),
        (&["--client", "v p n", "--address", "192.0.2.1"], "--client"),
        (&["--radius", "1812"], "--radius"),
        (&["--user", "a\u{7}"], "--user"),
        (
            &[
                "--client",
                "vpn",
                "--address",
                "192.0.2.1",
                "--policy",
                "none",
            ],
            "--policy",
        ),
    ] {
        let all = [&["setup"], words_of].concat();
        let (code, out, err) = words(&site.run(&all));
        assert_eq!(code, 2, "{all:?}: {out}{err}");
        assert!(
            err.contains(about) && err.contains("nothing was made"),
            "{err}"
        );
        assert!(!site.path().join("oncegate.toml").exists(), "{all:?}");
    }
    let made = site.json(&["setup", "--client", "here", "--address", "127.0.0.1"]);
    assert_eq!(made["ok"], true, "{made}");
    let clients = site.json(&["client", "list"]).to_string();
    assert!(
        clients.contains("here") && !clients.contains("setup-test"),
        "{clients}"
    );
}

/// A list in the environment is written with commas, or as in the file.
#[test]
fn a_list_in_the_environment_is_read_as_in_the_file() {
    let site = Site::new();
    for (written, expected) in [
        ("127.0.0.1:1812,[::1]:1812", 2),
        ("[\"127.0.0.1:1812\", \"[::1]:1812\"]", 2),
        ("[::1]:1812", 1),
        ("[ \"127.0.0.1:1812\" ]", 1),
    ] {
        let mut command = command(&site.path());
        let shown = command
            .args(["config", "show", "--effective", "--json"])
            .env("ONCEGATE__RADIUS__LISTEN", written)
            .output()
            .unwrap();
        let (code, out, err) = words(&shown);
        assert_eq!(code, 0, "{written}: {err}");
        assert_eq!(out.matches(":1812").count(), expected, "{written}: {out}");
    }
    let mut command = command(&site.path());
    let refused = command
        .args(["config", "check"])
        .env("ONCEGATE__RADIUS__LISTEN", "[\"127.0.0.1:1812\", 7]")
        .output()
        .unwrap();
    let (code, out, err) = words(&refused);
    let said = format!("{out}{err}");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ONCEGATE__RADIUS__LISTEN"), "{said}");
}

/// Whatever a command refuses, its last line says what to do next.
#[test]
fn every_error_says_what_to_do_next() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let directory = site.path();
    let directory = directory.to_str().unwrap();
    for (words_of, input, wanted) in [
        (&["code", "demo"][..], "", 4),
        (&["policy", "check", "nosuch.toml"], "", 4),
        (&["policy", "test", "nosuch.toml"], "", 4),
        (&["outage", "end"], "", 4),
        (
            &["delegation", "remove", "--from", "api:a", "--to", "api:b"],
            "",
            4,
        ),
        (&["user", "import", "nosuch.csv"], "", 4),
        (&["token", "import", "nosuch.csv"], "", 4),
        (&["user", "import", directory], "", 2),
        (&["radius", "decode", "nosuch"], "", 4),
        (&["radius", "decode", directory], "", 2),
        (&["verify", "alice", "--otp-stdin"], "", 2),
        (&["verify", "alice", "--otp-stdin"], "1\n2\n", 2),
        (&["user", "show", "a@r1", "--realm", "r2"], "", 2),
        (&["admin", "grant", "a@b", "admin"], "", 2),
    ] {
        let (code, _, err) = words(&site.run_with(words_of, input));
        assert_eq!(code, wanted, "{words_of:?}: {err}");
        assert!(err.contains("next:"), "{words_of:?}: {err}");
    }
    let mut verify = command(&site.path());
    let code = site.path().join("code");
    std::fs::write(&code, b"\xff\n").unwrap();
    let verify = verify
        .args(["verify", "alice", "--otp-stdin"])
        .stdin(std::fs::File::open(&code).unwrap());
    let (code, _, err) = words(&verify.output().unwrap());
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("next:") && err.contains("UTF-8"), "{err}");
}

/// Commands in advice can be pasted: they name the record and the installation, between grave accents or not.
#[test]
fn advice_can_be_pasted() {
    let site = Site::new();
    let at = format!("--dir {}", site.path().display());
    site.json(&["user", "add", "alice"]);
    site.json(&["client", "rotate", "admin"]);
    for (words_of, command) in [
        (&["client", "rotate", "admin"][..], "client show admin"),
        (&["user", "add", "alice"], "user set alice@default"),
        (&["console-link"], "serve"),
    ] {
        let (_, _, err) = words(&site.run(words_of));
        let pasted = format!("oncegate {command} {at}");
        assert!(err.contains(&pasted), "{words_of:?}: {err}");
    }
    let empty = Site::empty();
    let (code, out, err) = words(&empty.run(&["doctor"]));
    assert_eq!(code, 1, "{out}{err}");
    let made = format!("oncegate init --dir {}", empty.path().display());
    assert!(out.contains(&made), "{out}");
    let (_, _, err) = words(&site.run(&["client", "set", "admin"]));
    for option in [
        "--method",
        "--certificate",
        "--name-rule",
        "--retry-window",
        "--unsigned-replies",
        "--limit-proxy-state",
    ] {
        assert!(err.contains(option), "{option}: {err}");
    }
}

/// The private id of a yubikey is half of its secret: on the command line it is warned of, on stdin it is not.
#[test]
fn a_private_id_on_the_command_line_is_warned_of() {
    let site = Site::new();
    site.json(&["user", "add", "alice"]);
    let add = [
        "token",
        "add",
        "alice",
        "--kind",
        "yubikey",
        "--secret-stdin",
    ];
    let private = [&add[..], &["--private-id", KEY.private]].concat();
    let (code, _, err) = words(&site.run_with(&private, KEY.aes));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("can read secrets"), "{err}");
    let both = format!("ffeeddccbbaa99887766554433221100{}", KEY.private);
    let (code, _, err) = words(&site.run_with(&add, &both));
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("can read secrets"), "{err}");
    let (_, help, _) = words(&site.run(&["token", "add", "--help"]));
    assert!(help.contains("44 hexadecimal digits"), "{help}");
    assert!(!help.contains("--private-id"), "{help}");
    let wrong = [&add[..], &["--private-id", "0102"]].concat();
    let (code, _, err) = words(&site.run_with(&wrong, KEY.aes));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("error: --private-id"), "{err}");
}

/// Users of one realm, by every way.
#[test]
fn users_are_listed_by_realm() {
    let site = Site::new();
    for user in ["alice", "bob@staff", "carol@staff", "dave@zoo", "eve@staf"] {
        site.json(&["user", "add", user]);
    }
    let listed = |way: &[&str], realm: &str| -> Vec<String> {
        let words_of = [way, &["user", "list", "--realm", realm]].concat();
        let found = site.json(&words_of);
        let users = found["users"].as_array().unwrap().iter();
        users
            .map(|user| user["user"].as_str().unwrap().to_owned())
            .collect()
    };
    let staff = ["bob@staff", "carol@staff"];
    assert_eq!(listed(&[], "Staff"), staff);
    assert_eq!(listed(&[], "default"), ["alice@default"]);
    assert_eq!(listed(&[], "none"), [""; 0]);
    let limited = site.json(&["user", "list", "--realm", "staff", "--limit", "1"]);
    assert_eq!(limited["users"].as_array().unwrap().len(), 1, "{limited}");
    let (code, _, err) = words(&site.run(&["user", "list", "--realm", "a b@"]));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--realm:") && err.contains("next:"), "{err}");
    let daemon = site.serve();
    assert_eq!(listed(&[], "staff"), staff);
    drop(daemon);
}
